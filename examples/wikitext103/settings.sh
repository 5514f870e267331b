# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by prepare.sh, train.sh and evaluate.sh: what the three must agree on.
# The caller sets root, the checkout, and has sourced scripts/recipe/stages.sh.

SMALL=${SMALL:-0}
MODEL=${MODEL:-gpt}
CRITERION=${CRITERION:-rdrop}
SEED=${SEED:-1}
[[ $SMALL == [01] ]] || die "SMALL must be 0 or 1, got '$SMALL'"
[[ $MODEL == gpt || $MODEL == adaptive ]] || die "MODEL must be gpt or adaptive, got '$MODEL'"
[[ $CRITERION == rdrop || $CRITERION == baseline ]] ||
  die "CRITERION must be rdrop or baseline, got '$CRITERION'"
[[ $SEED =~ ^[0-9]+$ ]] || die "SEED must be a whole number, got '$SEED'"
if ((SMALL)); then
  OUT=${OUT:-$root/runs/austen_small}
else
  OUT=${OUT:-$root/runs/wikitext103}
fi
SAVE_DIR=${SAVE_DIR:-$OUT/$MODEL.$CRITERION.$SEED}
