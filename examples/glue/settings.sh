# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by prepare.sh, train.sh and evaluate.sh, after scripts/recipe/stages.sh: their arguments,
# and the folders of a task.

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
  [[ -n $TASK ]] || die "name a task: MNLI, QNLI, QQP, RTE, SST-2, MRPC, CoLA or STS-B; see --help"
  require_program python fairseq-train

  OUT=${OUT:-$root/runs/glue}
  GLUE_DIR=${GLUE_DIR:-} TSV_DIR=${TSV_DIR:-}
  if $small; then
    # prepare.sh makes both
    SMALL_DIR=${SMALL_DIR:-$OUT/small}
    ROBERTA_PATH=${ROBERTA_PATH:-$SMALL_DIR/minilm/model.pt}
  fi
  case $TASK in
    MNLI | QNLI | QQP | RTE | SST-2 | MRPC | CoLA | STS-B) ;;
    reviews | mr-rating) ! $small || TSV_DIR=${TSV_DIR:-$SMALL_DIR/tsv} ;;&
    *)
      [[ -n $TSV_DIR ]] ||
        die "unknown task $TASK: expected MNLI, QNLI, QQP, RTE, SST-2, MRPC, CoLA or STS-B, or with --small reviews or mr-rating, or a name of your own data in \$TSV_DIR"
      ;;
  esac
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
