# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by the scripts of ner, after scripts/recipe/stages.sh: their arguments, and the folders
# of a task.

# read_arguments [--small] TASK: sets TASK, small and the folders of what the scripts write
read_arguments() {
  small=false TASK=
  while (($#)); do
    case $1 in
      --small) small=true ;;
      -*) die "unknown argument $1; see --help" ;;
      *)
        [[ -z $TASK ]] || die "one task at a time, got $TASK and $1"
        TASK=$1
        ;;
    esac
    shift
  done
  [[ $TASK =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] ||
    die "name a task: conll2003, wnut17, or a name for the data in CONLL_DIR, got '$TASK'; see --help"
  require_program python fairseq-train
  OUT=${OUT:-$root/runs/ner}
  if $small; then
    SMALL_DIR=${SMALL_DIR:-$OUT/small}
    ROBERTA_PATH=${ROBERTA_PATH:-$SMALL_DIR/minilm/model.pt} # prepare.sh makes it
  fi
  encoder=$(basename "$(dirname "${ROBERTA_PATH:-unset}")")
  data=$OUT/$TASK/$encoder-data
  runs=$OUT/$TASK/$encoder
}

# need_encoder: ROBERTA_PATH is a checkpoint with its dictionary; sets model_dir
need_encoder() {
  [[ -n ${ROBERTA_PATH:-} ]] ||
    die "set ROBERTA_PATH to the model.pt of RoBERTa (https://dl.fbaipublicfiles.com/fairseq/models/roberta.large.tar.gz, unpacked), or of scripts/convert_roberta.py"
  [[ -f $ROBERTA_PATH ]] || die "ROBERTA_PATH: $ROBERTA_PATH does not exist"
  model_dir=$(cd "$(dirname "$ROBERTA_PATH")" && pwd)
  [[ -f $model_dir/dict.txt ]] || die "$model_dir has no dict.txt, which belongs to $ROBERTA_PATH"
}
