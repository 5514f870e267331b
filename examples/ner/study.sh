#!/usr/bin/env bash
# A study: every setting with every seed, and the tables of them. Runs that are done are skipped and
# one that was stopped goes on, so that it can be started again at any time; the tables are written
# anew after each run.
#
#   bash examples/ner/study.sh [--small] TASK
#
#   TASK     as for prepare.sh
#   --small  as for prepare.sh
#
# Writes $OUT/TASK/study.md, what evaluate.sh prints.
#
# Settings (environment variables):
#   SETTINGS  baseline, or an ALPHA                default: baseline 0 1 4 16
#   SEEDS     default: 1 2 3 4 5
#   OUT       where to write                       default: runs/ner
#   and those of prepare.sh, train.sh and evaluate.sh
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$here/settings.sh"
read_arguments "$@"
SETTINGS=${SETTINGS:-baseline 0 1 4 16}
SEEDS=${SEEDS:-1 2 3 4 5}
export OUT
for ALPHA in $SETTINGS; do # all of them before the first is trained
  [[ $ALPHA == baseline ]] || require_decimal ALPHA
done
require_numbers SEEDS
bash "$here/prepare.sh" "$@"
# seed by seed, so that a study that is stopped early compares all settings
for seed in $SEEDS; do
  for setting in $SETTINGS; do
    variables=(CRITERION=rdrop "ALPHA=$setting")
    [[ $setting != baseline ]] || variables=(CRITERION=baseline)
    env "${variables[@]}" "SEED=$seed" bash "$here/train.sh" "$@"
    bash "$here/evaluate.sh" "$@" >"$OUT/$TASK/study.md.$$"
    mv "$OUT/$TASK/study.md.$$" "$OUT/$TASK/study.md"
  done
done
cat "$OUT/$TASK/study.md"
echo "the tables are in $OUT/$TASK/study.md"
