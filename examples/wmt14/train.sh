#!/usr/bin/env bash
# Trains a big Transformer on WMT14 with R-Drop, or the same without for comparison, on what
# prepare.sh has made. Running it again goes on from the last checkpoint.
#
#   bash examples/wmt14/train.sh en-de|en-fr
#
# The hyper-parameters are those that the authors of R-Drop give in their repository (issue 19).
#
# Settings (environment variables):
#   OUT         where prepare.sh has written               default: runs/wmt14.PAIR
#   CRITERION   rdrop, or baseline: label-smoothed cross-entropy alone  default: rdrop
#   ALPHA       weight of R-Drop's KL term                 default: 5
#   DROPOUT     rate; attention and ReLU have 0.1          default: 0.1
#   LR, WARMUP  peak of the learning rate, updates to it   default: 1e-3, 6000
#   MAX_UPDATE  updates of training                        default: 300000; SMALL=1: 6
#   SAVE_EVERY  updates between checkpoints, each with a validation; the last 10 are kept
#                                                          default: 1500; SMALL=1: 2
#   SEED        of parameters, batches and dropout         default: 1
#   RUN         folder in OUT                              default: CRITERION
#   SMALL       1: a tiny model, for a trial               default: 0
#   MAX_TOKENS  tokens in a batch of one GPU               default: 4096; SMALL=1: 500
#   UPDATE_FREQ batches of a GPU in an update   default: what makes an update 524,288 tokens
#   NGPU NNODES NODE_RANK MASTER_ADDR MASTER_PORT BF16 CPU TRAIN_ARGS   see scripts/recipe/launch.sh
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$root/scripts/recipe/launch.sh"
source "$root/scripts/recipe/train_translation.sh"
source "$here/settings.sh"

DROPOUT=${DROPOUT:-0.1} LR=${LR:-1e-3} WARMUP=${WARMUP:-6000} SEED=${SEED:-1}

# 4096 tokens x update-freq 16 x 8 GPUs; of the 8, see the README
paper_tokens=$((4096 * 16 * 8)) architecture=(--arch transformer_vaswani_wmt_en_de_big)
if ((SMALL)); then
  paper_tokens=1000
  architecture=("${tiny[@]}")
  MAX_TOKENS=${MAX_TOKENS:-500} MAX_UPDATE=${MAX_UPDATE:-6} SAVE_EVERY=${SAVE_EVERY:-2}
fi
MAX_TOKENS=${MAX_TOKENS:-4096} MAX_UPDATE=${MAX_UPDATE:-300000} SAVE_EVERY=${SAVE_EVERY:-1500}
require_positive SAVE_EVERY

never=1000000000 # epochs: one of en-de has 250 updates
check_launch
[[ " $TRAIN_ARGS" != *" --max-epoch"* ]] ||
  die "TRAIN_ARGS has --max-epoch, but this saves every SAVE_EVERY updates, not at the end of an epoch: set MAX_UPDATE"
choose_update_freq "$paper_tokens"
train_translation "${architecture[@]}" --share-all-embeddings \
  --dropout "$DROPOUT" --attention-dropout 0.1 --relu-dropout 0.1 \
  --optimizer adam --adam-betas '(0.9,0.98)' --weight-decay 0.0 \
  --lr "$LR" --lr-scheduler inverse_sqrt --warmup-updates "$WARMUP" --warmup-init-lr 1e-07 \
  --save-interval-updates "$SAVE_EVERY" --keep-interval-updates 10 --no-epoch-checkpoints \
  --validate-interval-updates "$SAVE_EVERY" --save-interval "$never" --validate-interval "$never"
