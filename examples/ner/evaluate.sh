#!/usr/bin/env bash
# Scores what train.sh has trained on a task: precision, recall and F1 of entities by seqeval, on the
# dev and test sets, for every run; their mean and standard deviation over the seeds; and the
# difference to the baseline of the same seeds, with a bootstrap over sentences. Runs that are
# scored already are not scored again.
#
#   bash examples/ner/evaluate.sh [--small] TASK
#
#   TASK     what train.sh was given
#   --small  as train.sh was given it
#
# Settings (environment variables):
#   ROBERTA_PATH  as train.sh was given it; it is not read
#   BATCH         sentences in a batch                      default: 32
#   CPU           1: do not use a GPU                       default: 0
#   OUT, SMALL_DIR   as train.sh was given them
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$here/settings.sh"

read_arguments "$@"
score_runs python "$here/score.py" "$data"
python "$here/compare.py" "$runs"
