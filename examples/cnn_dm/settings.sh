# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by prepare.sh, train.sh and evaluate.sh: what the three must agree on.
# The caller has sourced scripts/recipe/stages.sh.

DATASET=${DATASET:-cnn_dm}
SMALL=${SMALL:-0}
CRITERION=${CRITERION:-rdrop}
require_choice DATASET cnn_dm xsum
require_choice SMALL 0 1
require_choice CRITERION rdrop baseline
if ((SMALL)); then
  OUT=${OUT:-$root/runs/summaries_small}
else
  OUT=${OUT:-$root/runs/$DATASET}
fi
positions=$((SMALL ? 256 : 1024)) # of the model, for documents and summaries
