#!/usr/bin/env bash
# Scores what train.sh has trained: accuracy on the test images, with its 95% interval.
#
#   bash examples/vit/evaluate.sh NAME [--small] [--dry-run] [FLAG...]
#
#   NAME, --small  what train.sh was given
#   --dry-run      print the command
#   FLAG           of evaluate.py: --batch-size, --workers
#
# Writes scores.json and examples.tsv, a line for each image, to the run's folder, from which rdrop
# compare makes tables: rdrop compare runs/vit/fashion-mnist --pair alpha1 baseline
#
# Settings (environment variables):
#   OUT        what train.sh was given     default: runs/vit
#   CRITERION  rdrop or baseline           default: rdrop
#   RUN        folder in OUT/NAME          default: CRITERION
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/name.sh"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
start python "$here/evaluate.py" --data "$data" ${flags[@]+"${flags[@]}"} "$OUT/${RUN:-${CRITERION:-rdrop}}"
