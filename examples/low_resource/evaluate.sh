#!/usr/bin/env bash
# Translates the test set with a run's best checkpoint (lowest valid loss), with its last one, and
# with the average of the last five (one every 100 updates), as papers do, and scores all three with
# sacrebleu. Running it again skips what is done.
#
#   RUN=rdrop.1 bash examples/low_resource/evaluate.sh
#
# Writes hyp.txt, ref.txt and scores.json to $OUT/runs/$RUN/best, .../last and .../average.
#
# Settings (environment variables):
#   RUN     name of the run, as given to train.sh           default: none, must be given
#   OUT     where prepare.sh wrote                          default: runs/low_resource
#   TGT     target language                                 default: de
#   GENERATE_ARGS  more arguments for fairseq-generate      default: --cpu --max-len-a 1.5
#           --max-len-b 20: no translation is longer than 1.5 times the source and 20 pieces
#   and those of scripts/evaluate.sh: BEAM (default: 5), LENPEN (default: 1.0), SCORE_ARGS, ...
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
RUN=${RUN:-}
OUT=${OUT:-$root/runs/low_resource}
TGT=${TGT:-de}
average=5

no_arguments "$@"
[[ -n $RUN ]] || die "set RUN to the name of a run; see --help"
run=$OUT/runs/$RUN
[[ -f $run/updates ]] || die "$run is not there or not finished: run train.sh first"

keep_memory
export OMP_NUM_THREADS=1
export GENERATE_ARGS=${GENERATE_ARGS:---cpu --max-len-a 1.5 --max-len-b 20}

settings="BEAM=${BEAM:-5} LENPEN=${LENPEN:-1.0} GENERATE_ARGS=$GENERATE_ARGS SCORE_ARGS=${SCORE_ARGS:-}"
keep_settings_of "$run/evaluate.settings" "$settings" \
  "remove $run/best, $run/last and $run/average to score it anew" "$run/best/scores.json"
for which in best last; do
  [[ $run/$which/scores.json -nt $run/updates ]] && continue
  if [[ $which == last ]] && cmp -s "$run/checkpoint_best.pt" "$run/checkpoint_last.pt"; then
    echo "evaluate: $RUN, the last checkpoint is the best one"
    rm -rf "$run/last" "$run/last.tmp"
    cp -r "$run/best" "$run/last.tmp"
    mv "$run/last.tmp" "$run/last"
    continue
  fi
  echo "evaluate: $RUN, $which checkpoint"
  bash "$root/scripts/evaluate.sh" "$OUT/bin" "$run/checkpoint_$which.pt" --out "$run/$which" \
    --reference "$OUT/text/test.$TGT"
done
[[ ! $run/average/scores.json -nt $run/updates ]] || exit 0
found=$(find "$run" -maxdepth 1 -name 'checkpoint_*_*.pt' | wc -l)
if ((found < average)); then
  echo "evaluate: $RUN has $found checkpoints by update, fewer than $average: no average (train with KEEP=$average or more)"
  exit
fi
echo "evaluate: $RUN, average of the last $average checkpoints"
bash "$root/scripts/evaluate.sh" "$OUT/bin" "$run" --average "$average" --out "$run/average" \
  --reference "$OUT/text/test.$TGT"
rm "$run/average/average.pt"
