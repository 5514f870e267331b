#!/usr/bin/env bash
# Fine-tunes BART on what prepare.sh has made, with R-Drop or without. Running it again
# resumes the training.
#
#   bash examples/cnn_dm/train.sh
#
# Settings (environment variables):
#   DATASET     cnn_dm or xsum                              default: cnn_dm
#   CRITERION   rdrop or baseline                           default: rdrop
#   ALPHA       weight of R-Drop's KL term                  default: 0.7 (the paper's)
#   ENCODER     once: R-Drop's passes go through the decoder only (--rdrop-encoder), 1.2 times the
#               time of no R-Drop in place of 1.95                   default: twice (the paper)
#   BART_DIR    folder of the unpacked bart.large.tar.gz
#   BART_PATH   BART's weights                              default: $BART_DIR/model.pt
#   UPDATES     updates of training                         default: 20000; xsum: 15000
#               (of which 500 warm-up; a tenth if UPDATES is below 5000)
#   LR          peak learning rate                          default: 3e-5
#   SEED        seed of batches and dropout                 default: 1
#   MAX_TOKENS  tokens in a batch of one GPU, >= 1024       default: 1024
#   NGPU, NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT, BF16, CPU, UPDATE_FREQ, TRAIN_ARGS
#               see scripts/recipe/launch.sh; an update has 65,536 tokens (xsum: 32,768) on any number
#   OUT         where prepare.sh wrote                      default: runs/$DATASET
#   SAVE_DIR    where to write                              default: $OUT/$CRITERION
#   SMALL       1: a small model of BART's form from scratch; OUT is runs/summaries_small;
#               UPDATES 3000, LR 3e-3, MAX_TOKENS 3072, an update is one batch     default: 0
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
no_arguments "$@"
source "$here/settings.sh"
source "$root/scripts/recipe/launch.sh"

ALPHA=${ALPHA:-0.7}
ENCODER=${ENCODER:-twice}
SEED=${SEED:-1}
SAVE_DIR=${SAVE_DIR:-$OUT/$CRITERION}
require_decimal ALPHA
require_choice ENCODER twice once
[[ -d $OUT/bin ]] || die "no data in $OUT/bin: run prepare.sh with the same OUT, DATASET and SMALL"
if ((SMALL)); then
  tokens=3072
  UPDATES=${UPDATES:-3000} LR=${LR:-3e-3} MAX_TOKENS=${MAX_TOKENS:-3072}
  start=()
  # not bart_base, which at this width learns much later to look at the document (README)
  model=(--arch transformer --encoder-learned-pos --decoder-learned-pos --layernorm-embedding
    --activation-fn gelu
    --encoder-layers 2 --encoder-embed-dim 128 --encoder-ffn-embed-dim 512 --encoder-attention-heads 4
    --decoder-layers 2 --decoder-embed-dim 128 --decoder-ffn-embed-dim 512 --decoder-attention-heads 4)
else
  BART_PATH=${BART_PATH:-${BART_DIR:+$BART_DIR/model.pt}}
  [[ -n $BART_PATH ]] || die "BART_PATH is not set: unpack" \
    "https://dl.fbaipublicfiles.com/fairseq/models/bart.large.tar.gz and name its folder in BART_DIR"
  # fairseq would train from scratch without a word
  [[ -f $BART_PATH ]] || die "no such checkpoint: BART_PATH=$BART_PATH"
  # twice the tokens for twice the documents: fairseq's README trains XSum on half a batch
  if [[ $DATASET == cnn_dm ]]; then
    tokens=65536 UPDATES=${UPDATES:-20000}
  else
    tokens=32768 UPDATES=${UPDATES:-15000}
  fi
  LR=${LR:-3e-5} MAX_TOKENS=${MAX_TOKENS:-1024}
  start=(--restore-file "$BART_PATH" --reset-optimizer --reset-dataloader --reset-meters
    --reset-lr-scheduler)
  model=(--arch bart_large --layernorm-embedding)
fi
check_launch
require_positive UPDATES
choose_update_freq "$tokens"

loss=(--criterion rdrop --rdrop-alpha "$ALPHA")
[[ $ENCODER == twice ]] || loss+=(--rdrop-encoder "$ENCODER")
[[ $CRITERION == rdrop ]] || loss=(--criterion label_smoothed_cross_entropy)
keep_settings_of "$SAVE_DIR/train.settings" "${loss[*]} ${start[*]} --lr $LR --max-update $UPDATES --seed $SEED $launch_settings data=$(checksum "$OUT"/bin/*)" \
  "set SAVE_DIR to another folder, or remove $SAVE_DIR" "$SAVE_DIR/checkpoint_last.pt"
! is_trained "$SAVE_DIR" "$UPDATES" || exit 0
# once there is a checkpoint of this training, go on from it
[[ ! -f $SAVE_DIR/checkpoint_last.pt ]] || start=()
warmup=$((UPDATES < 5000 ? UPDATES / 10 : 500))
launch_training "$OUT/bin" --user-dir "$root/rdrop_fairseq" --save-dir "$SAVE_DIR" "${start[@]}" \
  --task translation --source-lang source --target-lang target --truncate-source \
  --max-source-positions "$positions" --max-target-positions "$positions" \
  "${model[@]}" --share-all-embeddings --share-decoder-input-output-embed \
  "${loss[@]}" --label-smoothing 0.1 \
  --dropout 0.1 --attention-dropout 0.1 --weight-decay 0.01 --clip-norm 0.1 \
  --optimizer adam --adam-betas '(0.9, 0.999)' --adam-eps 1e-08 \
  --lr "$LR" --lr-scheduler polynomial_decay --warmup-updates "$warmup" \
  --total-num-update "$UPDATES" --max-update "$UPDATES" --seed "$SEED" \
  --required-batch-size-multiple 1 --skip-invalid-size-inputs-valid-test \
  --save-interval-updates 1000 --keep-interval-updates 1 --no-epoch-checkpoints \
  --log-format "$(log_format)" | tee -a "$SAVE_DIR/train.log"
mark_trained "$SAVE_DIR" "$UPDATES"
