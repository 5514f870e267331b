# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by prepare.sh, train.sh, evaluate.sh and study.sh, after scripts/recipe/stages.sh: their
# arguments, and the folders of a data set.

# read_arguments [--small] [NAME]: sets NAME, small and the folders of what the scripts write
read_arguments() {
  small_and_name "data set" "$@"
  NAME=$name
  if $small; then
    NAME=${NAME:-fashion-mnist}
    MODEL=${MODEL:-small}
  fi
  [[ $NAME =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] ||
    die "name the data: cifar100, imagenet, or a name for your own, got '$NAME'; see --help"
  require_program python

  OUT=${OUT:-$root/runs/vit}
  MODEL=${MODEL:-base}
  [[ $MODEL != *[[:space:]]* ]] || die "MODEL must have no white space in its name, got '$MODEL'"
  case $MODEL in
    base | large) checkpoint=google/vit-$MODEL-patch16-224-in21k ;;
    *) checkpoint=$MODEL ;;
  esac
  data=$OUT/$NAME/data.json
  runs=$OUT/$NAME/$(basename "$MODEL")
}
