# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by train.sh and evaluate.sh after scripts/recipe.sh: which model, and where it is.

MODEL=${MODEL:-gpt} CRITERION=${CRITERION:-rdrop} SEED=${SEED:-1}
require_choice MODEL gpt adaptive
require_choice CRITERION rdrop baseline
RUN=${RUN:-$MODEL.$CRITERION.$SEED}
if ((${#small[@]})); then
  OUT=${OUT:-$root/runs/austen_small}
else
  OUT=${OUT:-$root/runs/wikitext103}
fi
