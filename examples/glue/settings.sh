# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by the scripts of glue, after stages.sh: their arguments.

source "$root/scripts/recipe/encoder.sh"

# read_arguments [--small] TASK: sets TASK, small and the folders of what the scripts write
read_arguments() {
  small_and_name task "$@"
  TASK=$name
  [[ -n $TASK ]] || die "name a task: MNLI, QNLI, QQP, RTE, SST-2, MRPC, CoLA or STS-B; see --help"
  find_folders
  GLUE_DIR=${GLUE_DIR:-} TSV_DIR=${TSV_DIR:-}
  case $TASK in
    MNLI | QNLI | QQP | RTE | SST-2 | MRPC | CoLA | STS-B) ;;
    reviews | mr | mr-rating) ! $small || TSV_DIR=${TSV_DIR:-$SMALL_DIR/tsv} ;;&
    *)
      [[ -n $TSV_DIR ]] ||
        die "unknown task $TASK: expected MNLI, QNLI, QQP, RTE, SST-2, MRPC, CoLA or STS-B, or with --small reviews, mr or mr-rating, or a name of your own data in \$TSV_DIR"
      ;;
  esac
}
