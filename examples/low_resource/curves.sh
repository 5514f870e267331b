#!/usr/bin/env bash
# Scores runs along the way: every so many updates, the average of the last five checkpoints.
# Writes a table of validation loss and BLEU over updates, which ../figures.py draws. Running it
# again skips what is done.
#
#   RUN=baseline.1 CRITERION=baseline KEEP=60 UPDATES=6000 bash examples/low_resource/train.sh
#   RUN=alpha1.1 KEEP=60 UPDATES=6000 bash examples/low_resource/train.sh
#   bash examples/low_resource/curves.sh
#
# Settings (environment variables):
#   RUNS   names of the runs, SETTING.SEED                  default: baseline.1 alpha1.1
#   EVERY  updates from one score to the next: 500, 600 ... default: 1000
#   OUT    where train.sh wrote                             default: runs/low_resource
#   TABLE  the table to write                               default: $OUT/curves.tsv
#   and those of evaluate.sh: TGT, GENERATE_ARGS, BEAM, LENPEN, SCORE_ARGS
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
OUT=${OUT:-$root/runs/low_resource}
RUNS=${RUNS:-baseline.1 alpha1.1} EVERY=${EVERY:-1000} TGT=${TGT:-de}
average=5

no_arguments "$@"
require_number EVERY 500
((EVERY % 100 == 0)) || die "EVERY must be a multiple of 100, the updates between two checkpoints, got '$EVERY'"
[[ -d $OUT ]] || die "no such folder: OUT=$OUT"
OUT=$(cd "$OUT" && pwd) # links lead to it
TABLE=${TABLE:-$OUT/curves.tsv}
for run in $RUNS; do # all of them before the first is scored
  [[ -f $OUT/runs/$run/updates ]] || die "$OUT/runs/$run is not there or not finished: run train.sh first"
done
export OMP_NUM_THREADS=1
export GENERATE_ARGS=${GENERATE_ARGS:---cpu --max-len-a 1.5 --max-len-b 20}
search="BEAM=${BEAM:-5} LENPEN=${LENPEN:-1.0} GENERATE_ARGS=$GENERATE_ARGS SCORE_ARGS=${SCORE_ARGS:-}"

for run in $RUNS; do
  folder=$OUT/runs/$run
  for ((update = EVERY; update <= $(<"$folder/updates"); update += EVERY)); do
    point=$folder/curve/$update
    keep_settings_of "$point/evaluate.settings" "$search" "remove $folder/curve" "$point/scores.json"
    [[ ! -f $point/scores.json ]] || continue
    mkdir -p "$point"
    for ((i = 0; i < average; i++)); do
      checkpoint=$(compgen -G "$folder/checkpoint_*_$((update - 100 * i)).pt") ||
        die "$folder lacks the checkpoint of update $((update - 100 * i)): train with KEEP=$(($(<"$folder/updates") / 100))"
      ln -sf "$checkpoint" "$point/"
    done
    echo "curves: $run, update $update"
    bash "$root/scripts/evaluate.sh" "$OUT/bin" "$point" --average "$average" \
      --reference "$OUT/text/test.$TGT" >"$point/log"
    rm "$point/average.pt"
  done
done
# shellcheck disable=SC2086  # RUNS is several names
python "$root/examples/low_resource/curves.py" --runs "$OUT/runs" --out "$TABLE" $RUNS
echo "curves in $TABLE"
