#!/usr/bin/env bash
# Trains a small Transformer on IWSLT14 with R-Drop, or the same without for comparison, on what
# prepare.sh has made. Running it again goes on from the last checkpoint.
#
#   bash examples/iwslt14/train.sh SOURCE-TARGET [--small] [--dry-run] [FLAG...]      such as de-en
#
#   --small    a tiny model, for a trial, also on a CPU
#   --dry-run  print the command
#   FLAG       of fairseq-train, in place of what stands below, such as --max-tokens 2048 or --bf16
#
# The hyper-parameters are those of the authors' script (run_train.sh of translation_rdrop).
#
# Settings (environment variables):
#   OUT        where prepare.sh has written                      default: runs/iwslt14.PAIR
#   CRITERION  rdrop, or baseline: label-smoothed cross-entropy  default: rdrop
#   RUN        folder in OUT                                     default: CRITERION
#   ALPHA      weight of the KL term                             default: 5
#   UPDATES    of training                                       default: 300000; --small: 6
#   SEED       of parameters, batches and dropout                default: 64
#   NGPU       GPUs of this machine, each of which then needs its part of the 4096 tokens, such as
#              --max-tokens 1024 of four; more: rdrop run --help    default: 1
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/pair.sh"
CRITERION=${CRITERION:-rdrop} ALPHA=${ALPHA:-5} SEED=${SEED:-64}
RUN=${RUN:-$CRITERION}
require_choice CRITERION rdrop baseline
export NGPU=${NGPU:-1}

tokens=4096 # in an update
model=(--arch transformer_iwslt_de_en --max-tokens 4096 --keep-last-epochs 10)
generation='{"beam": 5, "max_len_a": 1.2, "max_len_b": 10}'
if ((${#small[@]})); then
  tokens=1000
  model=(--arch transformer --max-tokens 500
    --encoder-layers 2 --encoder-embed-dim 32 --encoder-ffn-embed-dim 64 --encoder-attention-heads 2
    --decoder-layers 2 --decoder-embed-dim 32 --decoder-ffn-embed-dim 64 --decoder-attention-heads 2
    --save-interval-updates 2 --keep-interval-updates 10 --no-epoch-checkpoints)
  generation='{"beam": 2, "max_len_b": 5}'
  UPDATES=${UPDATES:-6}
fi
criterion=(--criterion rdrop --rdrop-alpha "$ALPHA")
[[ $CRITERION == rdrop ]] || criterion=(--criterion label_smoothed_cross_entropy)
best=(--eval-bleu --eval-bleu-args "$generation" --eval-bleu-remove-bpe sentencepiece
  --eval-bleu-detok space --best-checkpoint-metric bleu --maximize-best-checkpoint-metric)
! uses_moses || best+=(--eval-bleu-remove-bpe subword_nmt --eval-bleu-detok moses)
# fairseq cannot tokenise Chinese for BLEU: a whole sentence would be one word
[[ $target != zh ]] || best=(--best-checkpoint-metric loss)

run=$OUT/$RUN
rdrop run --folder "$run" --inputs "$OUT/data-bin" --update-tokens "$tokens" \
  ${small[@]+"${small[@]}"} ${dry[@]+"${dry[@]}"} -- \
  fairseq-train "$OUT/data-bin" --user-dir rdrop_fairseq --save-dir "$run" \
  --task translation --source-lang "$source" --target-lang "$target" \
  "${model[@]}" --share-all-embeddings --dropout 0.3 \
  "${criterion[@]}" --label-smoothing 0.1 "${best[@]}" \
  --optimizer adam --adam-betas '(0.9,0.98)' --weight-decay 0.0001 \
  --lr 5e-4 --lr-scheduler inverse_sqrt --warmup-updates 4000 --warmup-init-lr 1e-07 \
  --max-update "${UPDATES:-300000}" --seed "$SEED" --fp16 \
  --num-workers 2 --log-format json --log-interval 100 --tensorboard-logdir "$run/tensorboard" \
  ${flags[@]+"${flags[@]}"}
