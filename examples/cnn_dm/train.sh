#!/usr/bin/env bash
# Fine-tunes BART on what prepare.sh has made, with R-Drop or without. Running it again goes on from
# the last checkpoint.
#
#   bash examples/cnn_dm/train.sh [--small] [--dry-run] [FLAG...]
#
#   --small    a small model of BART's form from scratch, also on a CPU
#   --dry-run  print the command
#   FLAG       of fairseq-train, in place of what stands below, such as --max-tokens 2048, --bf16 or
#              --rdrop-encoder once: R-Drop's passes go through the decoder only, 1.2 times the time of
#              no R-Drop in place of 1.95
#
# An update has 65,536 tokens (xsum: 32,768) on any number of GPUs.
#
# Settings (environment variables):
#   DATASET    cnn_dm or xsum                              default: cnn_dm
#   BART_DIR   folder of the unpacked bart.large.tar.gz
#   OUT        where prepare.sh has written                default: runs/DATASET; --small: runs/summaries_small
#   CRITERION  rdrop, or baseline: label-smoothed cross-entropy   default: rdrop
#   RUN        folder in OUT                               default: CRITERION
#   ALPHA      weight of the KL term                       default: 0.7 (the paper's)
#   UPDATES    of training, of which 500 are warm-up (a tenth of fewer than 5,000)
#                                                          default: 20000; xsum: 15000; --small: 3000
#   SEED       of batches and dropout                      default: 1
#   NGPU       and others for several machines: see rdrop run --help   default: all GPUs
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/dataset.sh"
CRITERION=${CRITERION:-rdrop} ALPHA=${ALPHA:-0.7} SEED=${SEED:-1}
RUN=${RUN:-$CRITERION}
require_choice CRITERION rdrop baseline

if ((${#small[@]})); then
  # not bart_base, which at this width learns much later to look at the document (README)
  model=(--arch transformer --encoder-learned-pos --decoder-learned-pos --layernorm-embedding
    --activation-fn gelu --max-source-positions 256 --max-target-positions 256
    --encoder-layers 2 --encoder-embed-dim 128 --encoder-ffn-embed-dim 512 --encoder-attention-heads 4
    --decoder-layers 2 --decoder-embed-dim 128 --decoder-ffn-embed-dim 512 --decoder-attention-heads 4
    --max-tokens 3072 --lr 3e-3)
  tokens=3072 updates=3000 weights=()
else
  [[ -n ${BART_DIR:-} ]] || ((${#dry[@]})) || die "BART_DIR is not set: unpack" \
    "https://dl.fbaipublicfiles.com/fairseq/models/bart.large.tar.gz and name its folder"
  weights=("${BART_DIR:-bart.large}/model.pt")
  model=(--arch bart_large --layernorm-embedding --finetune-from-model "${weights[0]}"
    --max-source-positions 1024 --max-target-positions 1024 --max-tokens 1024 --lr 3e-5)
  tokens=65536 updates=20000
  # twice the tokens for twice the documents: fairseq's README trains XSum on half a batch
  [[ $DATASET == cnn_dm ]] || tokens=32768 updates=15000
fi
UPDATES=${UPDATES:-$updates}
[[ $UPDATES =~ ^[1-9][0-9]*$ ]] || die "UPDATES must be a whole number of at least 1, got '$UPDATES'"
criterion=(--criterion rdrop --rdrop-alpha "$ALPHA")
[[ $CRITERION == rdrop ]] || criterion=(--criterion label_smoothed_cross_entropy)

run=$OUT/$RUN
rdrop run --folder "$run" --inputs "$OUT/bin" ${weights[@]+"${weights[@]}"} --update-tokens "$tokens" \
  ${small[@]+"${small[@]}"} ${dry[@]+"${dry[@]}"} -- \
  fairseq-train "$OUT/bin" --user-dir rdrop_fairseq --save-dir "$run" \
  --task translation --source-lang source --target-lang target --truncate-source \
  "${model[@]}" --share-all-embeddings --share-decoder-input-output-embed \
  --dropout 0.1 --attention-dropout 0.1 \
  "${criterion[@]}" --label-smoothing 0.1 \
  --optimizer adam --adam-betas '(0.9, 0.999)' --adam-eps 1e-08 --weight-decay 0.01 --clip-norm 0.1 \
  --lr-scheduler polynomial_decay --warmup-updates $((UPDATES < 5000 ? UPDATES / 10 : 500)) \
  --total-num-update "$UPDATES" --max-update "$UPDATES" --seed "$SEED" --fp16 \
  --required-batch-size-multiple 1 --skip-invalid-size-inputs-valid-test \
  --save-interval-updates 1000 --keep-interval-updates 1 --no-epoch-checkpoints \
  --log-format json --log-interval 100 \
  ${flags[@]+"${flags[@]}"}
