# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by prepare.sh, train.sh and evaluate.sh after scripts/recipe.sh: which data set, and where it is.

DATASET=${DATASET:-cnn_dm}
require_choice DATASET cnn_dm xsum
if ((${#small[@]})); then
  OUT=${OUT:-$root/runs/summaries_small}
else
  OUT=${OUT:-$root/runs/$DATASET}
fi
