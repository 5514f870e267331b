#!/usr/bin/env bash
# Scores what train.sh has trained on a task by GLUE's metric, on the dev set and whatever else has
# labels, and predicts the test set in the form of GLUE's server.
#
#   bash examples/glue/evaluate.sh TASK [--small] [--dry-run] [FLAG...]
#
#   TASK       what train.sh was given
#   --small    as train.sh was given it
#   --dry-run  print the command
#   FLAG       of examples/glue/predict.py: --batch-size N, --cpu
#
# Writes scores.json, SPLIT.examples.tsv and, for GLUE's tasks, submission/ to OUT/RUN.
#
# Settings (environment variables):
#   OUT  where train.sh has written        default: runs/glue.TASK; --small: runs/glue.TASK.small
#   RUN  folder in OUT                     default: rdrop
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/task.sh"
start python "$here/predict.py" "$TASK" "$OUT/data-bin" "$OUT/${RUN:-rdrop}" ${flags[@]+"${flags[@]}"}
