# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by prepare.sh, train.sh and evaluate.sh: what the three must agree on.
# The caller sets root, the checkout, and has sourced scripts/recipe/stages.sh.

DATASET=${DATASET:-cnn_dm}
SMALL=${SMALL:-0}
CRITERION=${CRITERION:-rdrop}
[[ $DATASET == cnn_dm || $DATASET == xsum ]] || die "DATASET must be cnn_dm or xsum, got '$DATASET'"
[[ $SMALL == [01] ]] || die "SMALL must be 0 or 1, got '$SMALL'"
[[ $CRITERION == rdrop || $CRITERION == baseline ]] ||
  die "CRITERION must be rdrop or baseline, got '$CRITERION'"
if ((SMALL)); then
  OUT=${OUT:-$root/runs/summaries_small}
else
  OUT=${OUT:-$root/runs/$DATASET}
fi
positions=$((SMALL ? 64 : 1024)) # of the model, for documents and summaries
