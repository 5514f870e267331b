#!/usr/bin/env bash
# Trains a small Transformer on IWSLT14 with R-Drop, or the same without for comparison, on what
# prepare.sh has made. Running it again goes on from the last checkpoint.
#
#   bash examples/iwslt14/train.sh SOURCE-TARGET      such as de-en
#
# The hyper-parameters are those of the authors' script (run_train.sh of translation_rdrop).
#
# Settings (environment variables):
#   OUT         where prepare.sh has written               default: runs/iwslt14.PAIR
#   CRITERION   rdrop, or baseline: label-smoothed cross-entropy alone  default: rdrop
#   ALPHA       weight of R-Drop's KL term                 default: 5
#   DROPOUT     rate                                       default: 0.3
#   LR, WARMUP  peak of the learning rate, updates to it   default: 5e-4, 4000
#   MAX_UPDATE  updates of training                        default: 300000; SMALL=1: 6
#   SEED        of parameters, batches and dropout         default: 64
#   RUN         folder in OUT                              default: CRITERION
#   SMALL       1: a tiny model, for a trial               default: 0
#   NGPU        GPUs of this machine                       default: 1
#   MAX_TOKENS  tokens in a batch of one GPU               default: 4096 / all GPUs
#   UPDATE_FREQ batches of a GPU in an update   default: what makes an update 4,096 tokens
#   NNODES NODE_RANK MASTER_ADDR MASTER_PORT BF16 CPU TRAIN_ARGS   see scripts/recipe/launch.sh
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$root/scripts/recipe/launch.sh"
source "$root/scripts/recipe/train_translation.sh"
source "$here/settings.sh"

DROPOUT=${DROPOUT:-0.3} LR=${LR:-5e-4} WARMUP=${WARMUP:-4000} SEED=${SEED:-64}
NGPU=${NGPU:-1}
check_launch

tokens=4096 architecture=(--arch transformer_iwslt_de_en) saving=(--keep-last-epochs 10)
generation='{"beam": 5, "max_len_a": 1.2, "max_len_b": 10}'
if ((SMALL)); then
  tokens=500
  architecture=("${tiny[@]}")
  saving=(--save-interval-updates 2 --keep-interval-updates 10 --no-epoch-checkpoints)
  generation='{"beam": 2, "max_len_b": 5}'
  MAX_UPDATE=${MAX_UPDATE:-6}
fi
world=$((NGPU * NNODES))
MAX_TOKENS=${MAX_TOKENS:-$(((tokens + world - 1) / world))} MAX_UPDATE=${MAX_UPDATE:-300000}
subwords=sentencepiece detokeniser=space
if uses_moses; then
  subwords=subword_nmt detokeniser=moses
fi
best=(--eval-bleu --eval-bleu-args "$generation" --eval-bleu-remove-bpe "$subwords"
  --eval-bleu-detok "$detokeniser" --best-checkpoint-metric bleu --maximize-best-checkpoint-metric)
# fairseq cannot tokenise Chinese for BLEU: a whole sentence would be one word
[[ $target != zh ]] || best=(--best-checkpoint-metric loss)
choose_update_freq "$tokens"
train_translation "${architecture[@]}" --share-all-embeddings --dropout "$DROPOUT" \
  --optimizer adam --adam-betas '(0.9,0.98)' --weight-decay 0.0001 \
  --lr "$LR" --lr-scheduler inverse_sqrt --warmup-updates "$WARMUP" --warmup-init-lr 1e-07 \
  "${saving[@]}" "${best[@]}"
