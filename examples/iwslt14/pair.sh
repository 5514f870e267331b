# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by prepare.sh, train.sh and evaluate.sh after scripts/recipe.sh: the pair, where it is, and
# how its words are cut.

((${#names[@]} == 1)) || die "expected a language pair such as de-en, got ${#names[@]} arguments; see --help"
pair=${names[0]}
[[ $pair =~ ^((de|fr|zh|es)-en|en-(de|fr|zh|es))$ ]] ||
  die "unknown pair $pair: IWSLT is de, fr, zh or es to or from en here, such as de-en"
source=${pair%-*} target=${pair#*-}
OUT=$(realpath -ms "${OUT:-$root/runs/iwslt14.$pair}")

# whether prepare.sh was told BPE=moses: subword-nmt's pieces, where sentencepiece's have a mark
uses_moses() {
  local dictionary=$OUT/data-bin/dict.$target.txt
  [[ -f $dictionary ]] && ! grep -q ▁ "$dictionary"
}
