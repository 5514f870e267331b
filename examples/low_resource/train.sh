#!/usr/bin/env bash
# Trains one small Transformer on what prepare.sh made, on one CPU core. Running it again
# resumes, and does nothing once the last update is reached; with more UPDATES it goes on.
#
#   RUN=rdrop.1 ALPHA=5 SEED=1 bash examples/low_resource/train.sh
#
# Writes to $OUT/runs/$RUN: checkpoint_best.pt (the lowest valid loss, which is the plain
# criterion's for baseline and R-Drop alike), checkpoint_last.pt, train.log, and cpu_seconds,
# user and system time of fairseq-train, a line each time that it ran ("unknown" if this script
# was killed).
#
# Settings (environment variables):
#   RUN         name of the run                             default: none, must be given
#   OUT         where prepare.sh wrote                      default: runs/low_resource
#   CRITERION   rdrop, or baseline: fairseq's label_smoothed_cross_entropy; default: rdrop
#   ALPHA       weight of R-Drop's KL term                  default: 1
#   SEED        of parameters, batches and dropout          default: 1
#   UPDATES     updates of training                         default: 3000
#   DROPOUT     rate of dropout                             default: 0.1
#   KEEP        checkpoints to keep, one every 100 updates; the study averages five  default: 5
#   TRAIN_ARGS  more arguments for fairseq-train            default: none
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
RUN=${RUN:-}
OUT=${OUT:-$root/runs/low_resource}
CRITERION=${CRITERION:-rdrop} ALPHA=${ALPHA:-1} SEED=${SEED:-1} UPDATES=${UPDATES:-3000}
DROPOUT=${DROPOUT:-0.1} KEEP=${KEEP:-5} TRAIN_ARGS=${TRAIN_ARGS:-}

no_arguments "$@"
[[ $RUN =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] ||
  die "RUN must be a name of letters, digits, dots, dashes, got '$RUN'; see --help"
require_number SEED 0
require_positive UPDATES KEEP
require_decimal ALPHA
require_choice CRITERION rdrop baseline
objective="--criterion rdrop --rdrop-alpha $ALPHA"
[[ $CRITERION == rdrop ]] || objective="--criterion label_smoothed_cross_entropy"
[[ -d $OUT/bin ]] || die "$OUT/bin is not there: run prepare.sh first, with the same OUT"
require_program fairseq-train

run=$OUT/runs/$RUN
settings="$objective --seed $SEED --dropout $DROPOUT${TRAIN_ARGS:+ $TRAIN_ARGS}"
keep_settings_of "$run/train.settings" "$settings data=$(checksum "$OUT"/bin/*.{bin,txt})" \
  "set RUN to another name, or remove $run" "$run/checkpoint_last.pt"
[[ ! -f $run/updates ]] || (($(<"$run/updates") <= UPDATES)) ||
  die "$run has had $(<"$run/updates") updates, more than UPDATES=$UPDATES: set another RUN"
! is_trained "$run" "$UPDATES" || exit 0

keep_memory
export OMP_NUM_THREADS=1 # one thread: seconds of CPU time compare

echo "train: $RUN, up to update $UPDATES, in $run/train.log"
# shellcheck disable=SC2086  # settings is several arguments
record_seconds "$run/cpu_seconds" \
  fairseq-train "$OUT/bin" --user-dir "$root/rdrop_fairseq" --save-dir "$run" \
  --max-update "$UPDATES" --label-smoothing 0.1 \
  --arch transformer --share-all-embeddings \
  --encoder-layers 2 --encoder-embed-dim 128 --encoder-ffn-embed-dim 512 --encoder-attention-heads 4 \
  --decoder-layers 2 --decoder-embed-dim 128 --decoder-ffn-embed-dim 512 --decoder-attention-heads 4 \
  --optimizer adam --adam-betas '(0.9, 0.98)' \
  --lr 3e-3 --lr-scheduler inverse_sqrt --warmup-updates 200 --max-tokens 1200 \
  --save-interval-updates 100 --keep-interval-updates "$KEEP" --no-epoch-checkpoints \
  --cpu --num-workers 0 --log-format json --log-interval 20 $settings >>"$run/train.log" 2>&1 || {
  tail -n 1 "$run/train.log" >&2
  die "fairseq-train failed or was stopped; see $run/train.log"
}
mark_trained "$run" "$UPDATES"
