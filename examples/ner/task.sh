# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by prepare.sh, train.sh and evaluate.sh after scripts/recipe.sh: the task, its encoder, and
# where they are.

((${#names[@]} == 1)) ||
  die "expected one task, such as conll2003, got ${#names[@]} arguments; see --help"
TASK=${names[0]}
OUT=${OUT:-$root/runs/ner.$TASK${small:+.small}}
minilm=$root/runs/minilm/model.pt
ROBERTA_PATH=${ROBERTA_PATH:-${small:+$minilm}}
encoder=$(dirname "$ROBERTA_PATH") # its folder

# need_encoder: ROBERTA_PATH is a checkpoint with its dictionary
need_encoder() {
  [[ -n $ROBERTA_PATH ]] ||
    die "set ROBERTA_PATH to the model.pt of RoBERTa (https://dl.fbaipublicfiles.com/fairseq/models/roberta.large.tar.gz, unpacked) or of rdrop convert, or give --small"
  [[ -f $ROBERTA_PATH ]] || die "ROBERTA_PATH: $ROBERTA_PATH does not exist${small:+; prepare.sh --small fetches MiniLM}"
  [[ -f $encoder/dict.txt ]] || die "$encoder has no dict.txt, which belongs to $ROBERTA_PATH"
}
