#!/usr/bin/env bash
# Trains a language model on what prepare.sh has made, with R-Drop or without. Running it again goes
# on from the last checkpoint.
#
#   bash examples/wikitext103/train.sh [--small] [--dry-run] [FLAG...]
#
#   --small    a small model, also on a CPU
#   --dry-run  print the command
#   FLAG       of fairseq-train, in place of what stands below, such as --bf16 or --max-tokens 4096;
#              of a --max-tokens below --tokens-per-sample, fairseq would leave out nearly all text
#
# An update has room for 256,000 tokens (adaptive: 73,728) on any number of GPUs.
#
# Settings (environment variables):
#   MODEL      gpt (transformer_lm_gpt), or adaptive (transformer_lm_wiki103, with adaptive input and
#              softmax)                                    default: gpt
#   OUT        where prepare.sh has written                default: runs/wikitext103; --small: runs/austen_small
#   CRITERION  rdrop or baseline                           default: rdrop
#   RUN        folder in OUT                               default: MODEL.CRITERION.SEED
#   ALPHA      weight of the KL term                       default: 1 (the paper's)
#   UPDATES    of training                                 default: gpt 50000, adaptive 286000; --small: 1000
#   SEED       of parameters, batches and dropout          default: 1
#   NGPU       and others for several machines: see rdrop run --help   default: all GPUs
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/model.sh"
ALPHA=${ALPHA:-1}

if [[ $MODEL == gpt ]]; then
  criterion=(--criterion rdrop --rdrop-alpha "$ALPHA")
  [[ $CRITERION == rdrop ]] || criterion=(--criterion cross_entropy)
else
  criterion=(--criterion rdrop_adaptive_loss --rdrop-alpha "$ALPHA")
  [[ $CRITERION == rdrop ]] || criterion=(--criterion adaptive_loss)
  criterion+=(--ddp-backend legacy_ddp) # as fairseq asks for adaptive_loss
fi
adam=(--optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 0.01 --clip-norm 0.0
  --lr-scheduler inverse_sqrt --warmup-init-lr 1e-07)
if ((${#small[@]})); then
  tokens=1024 updates=1000
  model=(--arch transformer_lm --dropout 0.1 --tokens-per-sample 128 --max-tokens 1024
    --decoder-layers 2 --decoder-embed-dim 128 --decoder-input-dim 128 --decoder-output-dim 128
    --decoder-ffn-embed-dim 512 --decoder-attention-heads 4)
  schedule=("${adam[@]}" --lr 2e-3 --warmup-updates 100)
  if [[ $MODEL == gpt ]]; then
    model+=(--share-decoder-input-output-embed)
  else
    model+=(--adaptive-input --adaptive-input-cutoff '200,600' --adaptive-input-factor 2
      --adaptive-softmax-cutoff '200,600' --adaptive-softmax-factor 2 --tie-adaptive-weights)
  fi
elif [[ $MODEL == gpt ]]; then
  tokens=256000 updates=50000
  model=(--arch transformer_lm_gpt --share-decoder-input-output-embed --dropout 0.1
    --tokens-per-sample 512 --max-tokens 2000)
  schedule=("${adam[@]}" --lr 5e-4 --warmup-updates 4000)
else
  tokens=73728 updates=286000
  model=(--arch transformer_lm_wiki103 --tokens-per-sample 3072 --max-tokens 3072)
  schedule=(--optimizer nag --clip-norm 0.1 --lr 1.0 --lr-scheduler cosine --t-mult 2
    --lr-period-updates 270000 --lr-shrink 0.75 --warmup-updates 16000 --warmup-init-lr 1e-07
    --stop-min-lr 1e-09 --min-lr 0.0001)
fi

run=$OUT/$RUN
rdrop run --folder "$run" --inputs "$OUT/bin" --update-tokens "$tokens" \
  ${small[@]+"${small[@]}"} ${dry[@]+"${dry[@]}"} -- \
  fairseq-train "$OUT/bin" --user-dir rdrop_fairseq --save-dir "$run" \
  --task language_modeling --sample-break-mode none --skip-invalid-size-inputs-valid-test \
  "${model[@]}" "${criterion[@]}" "${schedule[@]}" \
  --max-update "${UPDATES:-$updates}" --seed "$SEED" --fp16 \
  --save-interval-updates 1000 --keep-interval-updates 1 --no-epoch-checkpoints \
  --log-format json --log-interval 100 \
  ${flags[@]+"${flags[@]}"}
