#!/usr/bin/env bash
# Trains one small Transformer on what prepare.sh has made, on one CPU core. Running it again goes on
# from the last checkpoint, and does nothing once the last update is reached; with more UPDATES it
# goes on.
#
#   RUN=rdrop.1 ALPHA=5 SEED=1 bash examples/low_resource/train.sh [--dry-run] [FLAG...]
#
#   --dry-run  print the command
#   FLAG       of fairseq-train, in place of what stands below, such as --dropout 0.2
#
# checkpoint_best.pt has the lowest valid loss, which is the plain criterion's for all; run.json in
# the run's folder has the seconds of CPU time, user and system, of each start.
#
# Settings (environment variables):
#   OUT        where prepare.sh has written                      default: runs/low_resource
#   CRITERION  rdrop, or baseline: label-smoothed cross-entropy  default: rdrop
#   RUN        folder in OUT                                     default: CRITERION
#   ALPHA      weight of the KL term                             default: 1
#   UPDATES    of training                                       default: 3000
#   SEED       of parameters, batches and dropout                default: 1
#   OMP_NUM_THREADS  of the CPU; seconds compare with one        default: 1
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
OUT=${OUT:-$root/runs/low_resource} CRITERION=${CRITERION:-rdrop}
require_choice CRITERION rdrop baseline
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
criterion=(--criterion rdrop --rdrop-alpha "${ALPHA:-1}")
[[ $CRITERION == rdrop ]] || criterion=(--criterion label_smoothed_cross_entropy)

run=$OUT/${RUN:-$CRITERION}
rdrop run --folder "$run" --inputs "$OUT/data-bin" ${dry[@]+"${dry[@]}"} -- \
  fairseq-train "$OUT/data-bin" --user-dir rdrop_fairseq --save-dir "$run" \
  --arch transformer --share-all-embeddings --dropout 0.1 \
  --encoder-layers 2 --encoder-embed-dim 128 --encoder-ffn-embed-dim 512 --encoder-attention-heads 4 \
  --decoder-layers 2 --decoder-embed-dim 128 --decoder-ffn-embed-dim 512 --decoder-attention-heads 4 \
  "${criterion[@]}" --label-smoothing 0.1 \
  --optimizer adam --adam-betas '(0.9, 0.98)' \
  --lr 3e-3 --lr-scheduler inverse_sqrt --warmup-updates 200 --max-tokens 1200 \
  --max-update "${UPDATES:-3000}" --seed "${SEED:-1}" \
  --save-interval-updates 100 --keep-interval-updates 5 --no-epoch-checkpoints \
  --cpu --num-workers 0 --log-format json --log-interval 20 \
  ${flags[@]+"${flags[@]}"}
