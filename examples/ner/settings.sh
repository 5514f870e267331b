# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by the scripts of ner, after stages.sh: their arguments.

source "$root/scripts/recipe/encoder.sh"

# read_arguments [--small] TASK: sets TASK, small and the folders of what the scripts write
read_arguments() {
  small_and_name task "$@"
  TASK=$name
  [[ $TASK =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] ||
    die "name a task: conll2003, wnut17, or a name for the data in CONLL_DIR, got '$TASK'; see --help"
  find_folders
}
