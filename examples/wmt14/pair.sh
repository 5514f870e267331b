# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by prepare.sh, train.sh and evaluate.sh after scripts/recipe.sh: the pair, where it is, and
# how its words are cut.

((${#names[@]} == 1)) || die "expected a language pair, en-de or en-fr, got ${#names[@]} arguments; see --help"
pair=${names[0]}
[[ $pair == en-de || $pair == en-fr ]] || die "unknown pair $pair: WMT14 is en-de or en-fr here"
source=${pair%-*} target=${pair#*-}
OUT=$(realpath -ms "${OUT:-$root/runs/wmt14.$pair}")

# whether prepare.sh was told BPE=moses: subword-nmt's pieces, where sentencepiece's have a mark
uses_moses() {
  local dictionary=$OUT/data-bin/dict.$target.txt
  [[ -f $dictionary ]] && ! grep -q ▁ "$dictionary"
}
