#!/usr/bin/env bash
# A study: every task with every setting and every seed, and a table of them. Runs that are done
# are skipped and one that was stopped goes on, so that it can be started again at any time; the
# table is written anew after each run.
#
#   bash examples/glue/study.sh [--small]
#
#   --small  as for train.sh
#
# Writes $OUT/study.md: median, mean, standard deviation and the best seed of each setting
# (scripts/recipe/seeds_table.py says how).
#
# Settings (environment variables):
#   TASKS     what prepare.sh takes          default: RTE MRPC CoLA STS-B; --small: reviews
#   SETTINGS  baseline, or an ALPHA as train.sh takes it (0.5xB: not for a regression, which
#             has 1 then)                    default: baseline 0 0.1 0.5 1 0.5xB
#   SEEDS     default: 1 2 3 4 5
#   OUT       where to write                 default: runs/glue
#   and those of prepare.sh, train.sh (UPDATES and the like are then for all tasks) and evaluate.sh
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$here/settings.sh"
flags=()
if [[ ${1:-} == --small ]]; then
  flags=(--small)
  shift
fi
(($# == 0)) || die "unknown argument $1; see --help"

if ((${#flags[@]})); then
  TASKS=${TASKS:-reviews}
else
  TASKS=${TASKS:-RTE MRPC CoLA STS-B}
fi
SETTINGS=${SETTINGS:-baseline 0 0.1 0.5 1 0.5xB}
SEEDS=${SEEDS:-1 2 3 4 5}
OUT=${OUT:-$root/runs/glue}
export OUT
for setting in $SETTINGS; do # all of them before the first is trained
  [[ $setting =~ ^(baseline|[0-9]*\.?[0-9]+(xB)?)$ ]] ||
    die "SETTINGS is a list of baseline and of alphas (0.5, 0.5xB), got $setting"
done
require_numbers SEEDS

folders=()
for task in $TASKS; do
  bash "$here/prepare.sh" "${flags[@]}" "$task"
  read_arguments "${flags[@]}" "$task"
  folders+=("$runs")
done
# seed by seed, so that a study that is stopped early compares all settings
for seed in $SEEDS; do
  for task in $TASKS; do
    for setting in $SETTINGS; do
      if [[ $setting == baseline ]]; then
        variables=(CRITERION=baseline)
      else
        read_arguments "${flags[@]}" "$task"
        alpha=$setting
        [[ $setting != *xB || -f $data/label/dict.txt ]] || alpha=1
        variables=(CRITERION=rdrop "ALPHA=$alpha")
      fi
      env "${variables[@]}" "SEED=$seed" bash "$here/train.sh" "${flags[@]}" "$task"
      bash "$here/evaluate.sh" "${flags[@]}" "$task" >/dev/null
      python "$root/scripts/recipe/seeds_table.py" "${folders[@]}" >"$OUT/study.md.$$"
      mv "$OUT/study.md.$$" "$OUT/study.md"
    done
  done
done
cat "$OUT/study.md"
echo "the table is in $OUT/study.md"
