#!/usr/bin/env bash
# Scores what train.sh has trained on a task: precision, recall and F1 of entities by seqeval, on the
# dev and test sets.
#
#   bash examples/ner/evaluate.sh TASK [--small] [--dry-run] [FLAG...]
#
#   TASK       what train.sh was given
#   --small    as train.sh was given it
#   --dry-run  print the command
#   FLAG       of examples/ner/score.py: --batch-size N, --cpu
#
# Writes scores.json, SPLIT.conll (word, true tag, predicted tag) and SPLIT.examples.tsv to OUT/RUN.
#
# Settings (environment variables):
#   OUT  where train.sh has written        default: runs/ner.TASK; --small: runs/ner.TASK.small
#   RUN  folder in OUT                     default: rdrop
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/task.sh"
start python "$here/score.py" "$OUT" "$OUT/${RUN:-rdrop}" ${flags[@]+"${flags[@]}"}
