#!/usr/bin/env bash
# Scores what train.sh has trained on a task: GLUE's metric on the dev set for every run, mean
# and standard deviation over the seeds; writes predictions of the test set as GLUE's server
# takes them. Runs that are scored already are not scored again.
#
#   bash examples/glue/evaluate.sh [--small] TASK
#
#   TASK     what train.sh was given
#   --small  as train.sh was given it
#
# Settings (environment variables):
#   ROBERTA_PATH  as train.sh was given it; it is not read
#   BATCH         examples in a batch                       default: 32
#   CPU           1: do not use a GPU                       default: 0
#   OUT           where train.sh wrote                      default: runs/glue
#   TSV_DIR, SMALL_DIR   as prepare.sh was given them
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$here/settings.sh"

read_arguments "$@"
score_runs python "$here/predict.py" "$TASK" "$data"
