#!/usr/bin/env bash
# Trains a big Transformer on WMT14 with R-Drop, or the same without for comparison, on what
# prepare.sh has made. Running it again goes on from the last checkpoint.
#
#   bash examples/wmt14/train.sh en-de|en-fr [--small] [--dry-run] [FLAG...]
#
#   --small    a tiny model, for a trial, also on a CPU
#   --dry-run  print the command
#   FLAG       of fairseq-train, in place of what stands below, such as --max-tokens 2048 or --bf16
#
# The hyper-parameters are those that the authors of R-Drop give in their repository (issue 19).
#
# Settings (environment variables):
#   OUT        where prepare.sh has written                      default: runs/wmt14.PAIR
#   CRITERION  rdrop, or baseline: label-smoothed cross-entropy  default: rdrop
#   RUN        folder in OUT                                     default: CRITERION
#   ALPHA      weight of the KL term                             default: 5
#   UPDATES    of training                                       default: 300000; --small: 6
#   SEED       of parameters, batches and dropout                default: 1
#   NGPU, NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT            see rdrop run --help
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/pair.sh"
CRITERION=${CRITERION:-rdrop} ALPHA=${ALPHA:-5} SEED=${SEED:-1}
RUN=${RUN:-$CRITERION}
require_choice CRITERION rdrop baseline
[[ " ${flags[*]-}" != *" --max-epoch"* ]] ||
  die "checkpoints are saved every so many updates, none at the end of an epoch: set UPDATES, not --max-epoch"

# 4096 tokens x update-freq 16 x 8 GPUs; of the 8, see the README
tokens=524288 every=1500
model=(--arch transformer_vaswani_wmt_en_de_big --max-tokens 4096)
if ((${#small[@]})); then
  tokens=1000 every=2
  model=(--arch transformer --max-tokens 500
    --encoder-layers 2 --encoder-embed-dim 32 --encoder-ffn-embed-dim 64 --encoder-attention-heads 2
    --decoder-layers 2 --decoder-embed-dim 32 --decoder-ffn-embed-dim 64 --decoder-attention-heads 2)
  UPDATES=${UPDATES:-6}
fi
criterion=(--criterion rdrop --rdrop-alpha "$ALPHA")
[[ $CRITERION == rdrop ]] || criterion=(--criterion label_smoothed_cross_entropy)
never=1000000000 # epochs: one of en-de has 250 updates

run=$OUT/$RUN
rdrop run --folder "$run" --inputs "$OUT/data-bin" --update-tokens "$tokens" \
  ${small[@]+"${small[@]}"} ${dry[@]+"${dry[@]}"} -- \
  fairseq-train "$OUT/data-bin" --user-dir rdrop_fairseq --save-dir "$run" \
  --task translation --source-lang "$source" --target-lang "$target" \
  "${model[@]}" --share-all-embeddings --dropout 0.1 --attention-dropout 0.1 --relu-dropout 0.1 \
  "${criterion[@]}" --label-smoothing 0.1 \
  --optimizer adam --adam-betas '(0.9,0.98)' --weight-decay 0.0 \
  --lr 1e-3 --lr-scheduler inverse_sqrt --warmup-updates 6000 --warmup-init-lr 1e-07 \
  --max-update "${UPDATES:-300000}" --seed "$SEED" --fp16 \
  --save-interval-updates "$every" --keep-interval-updates 10 --no-epoch-checkpoints \
  --validate-interval-updates "$every" --save-interval "$never" --validate-interval "$never" \
  --num-workers 2 --log-format json --log-interval 100 --tensorboard-logdir "$run/tensorboard" \
  ${flags[@]+"${flags[@]}"}
