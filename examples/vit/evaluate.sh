#!/usr/bin/env bash
# Scores what train.sh has trained: accuracy on the test images with its 95 % interval for every
# run, and against the baseline of the same seed the difference on the same images. Runs that
# are scored already are not scored again.
#
#   bash examples/vit/evaluate.sh NAME
#
#   NAME, --small   what train.sh was given
#
# Writes predictions.tsv and scores.json to each run, and results.tsv, results.md and curves.tsv
# to $OUT/NAME/MODEL.
#
# Settings (environment variables):
#   MODEL    as train.sh was given it
#   MAIN     the setting whose CPU time baseline-time has had, see study.sh  default: alpha1
#   BATCH    images at once                                  default: 64
#   WORKERS  processes that load images                      default: 0
#   OMP_NUM_THREADS  threads on a CPU                        default: 1
#   OUT      where train.sh wrote                            default: runs/vit
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$here/settings.sh"

read_arguments "$@"
BATCH=${BATCH:-64} WORKERS=${WORKERS:-0} MAIN=${MAIN:-alpha1}
require_positive BATCH
require_number WORKERS 0
shopt -s nullglob
finished=("$runs"/*/updates)
((${#finished[@]})) || die "no finished run in $runs: run train.sh first"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
[[ -f $data ]] || die "$data is not there: run prepare.sh first, with the same OUT"
sum=$(checksum "$data")
for mark in "${finished[@]}"; do
  run=$(dirname "$mark")
  grep -q -- "--data-checksum $sum " "$run/settings" ||
    die "$run was trained with other images than $data names now: remove it, or prepare its images again"
  [[ ! $run/scores.json -nt $mark ]] || continue
  python "$here/evaluate.py" --data "$data" --batch-size "$BATCH" --workers "$WORKERS" "$run"
done
python "$here/results.py" --runs "$runs" --main "$MAIN"
cat "$runs/results.md"
