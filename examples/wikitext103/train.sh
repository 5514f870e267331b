#!/usr/bin/env bash
# Trains a language model on what prepare.sh has made, with R-Drop or without. Running it
# again resumes the training.
#
#   bash examples/wikitext103/train.sh
#
# Settings (environment variables):
#   MODEL       gpt (transformer_lm_gpt) or adaptive (transformer_lm_wiki103, with adaptive
#               input and softmax)                          default: gpt
#   CRITERION   rdrop or baseline                           default: rdrop
#   PROTOCOL    recipe, or authors: what R-Drop's own scripts have, where it differs: adaptive
#               with R-Drop 320000 updates, the KL of --rdrop-adaptive-kl target, and a training
#               that was stopped goes on from checkpoint_best    default: recipe
#   ALPHA       weight of R-Drop's KL term                  default: 1 (the paper's)
#   UPDATES     updates of training                         default: gpt 50000, adaptive 286000
#   LR          peak learning rate                          default: gpt 5e-4, adaptive 1.0
#   SEED        seed of parameters, batches and dropout     default: 1
#   MAX_TOKENS  tokens in a batch of one GPU                default: gpt 2000, adaptive 3072
#   NGPU, NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT, BF16, CPU, UPDATE_FREQ, TRAIN_ARGS
#               see scripts/recipe/launch.sh; an update has room for 256,000 tokens (adaptive: 73,728) on any
#               number of GPUs
#   OUT         where prepare.sh wrote                      default: runs/wikitext103
#   SAVE_DIR    where to write                              default: $OUT/$MODEL.$CRITERION.$SEED, and
#               .authors for what PROTOCOL=authors trains otherwise
#   SMALL       1: a small model; OUT is runs/austen_small; UPDATES 1000, LR 2e-3,
#               MAX_TOKENS 1024, an update is one batch     default: 0
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
no_arguments "$@"
source "$here/settings.sh"
source "$root/scripts/recipe/launch.sh"

ALPHA=${ALPHA:-1}
require_decimal ALPHA
[[ -d $OUT/bin ]] || die "no data in $OUT/bin: run prepare.sh with the same OUT and SMALL"

if [[ $MODEL == gpt ]]; then
  loss=(--criterion rdrop --rdrop-alpha "$ALPHA")
  [[ $CRITERION == rdrop ]] || loss=(--criterion cross_entropy)
else
  loss=(--criterion rdrop_adaptive_loss --rdrop-alpha "$ALPHA")
  [[ -z $authors ]] || loss+=(--rdrop-adaptive-kl target)
  [[ $CRITERION == rdrop ]] || loss=(--criterion adaptive_loss)
  loss+=(--ddp-backend legacy_ddp) # as fairseq asks for adaptive_loss
fi
adam=(--optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 0.01 --clip-norm 0.0
  --lr-scheduler inverse_sqrt --warmup-init-lr 1e-07)
if ((SMALL)); then
  tokens=1024 UPDATES=${UPDATES:-1000} LR=${LR:-2e-3} MAX_TOKENS=${MAX_TOKENS:-1024}
  model=(--arch transformer_lm --dropout 0.1
    --decoder-layers 2 --decoder-embed-dim 128 --decoder-input-dim 128 --decoder-output-dim 128
    --decoder-ffn-embed-dim 512 --decoder-attention-heads 4 --tokens-per-sample 128
    "${adam[@]}" --warmup-updates 100)
  if [[ $MODEL == gpt ]]; then
    model+=(--share-decoder-input-output-embed)
  else
    model+=(--adaptive-input --adaptive-input-cutoff '200,600' --adaptive-input-factor 2
      --adaptive-softmax-cutoff '200,600' --adaptive-softmax-factor 2 --tie-adaptive-weights)
  fi
elif [[ $MODEL == gpt ]]; then
  tokens=256000 UPDATES=${UPDATES:-50000} LR=${LR:-5e-4} MAX_TOKENS=${MAX_TOKENS:-2000}
  model=(--arch transformer_lm_gpt --share-decoder-input-output-embed --dropout 0.1
    --tokens-per-sample 512 "${adam[@]}" --warmup-updates 4000)
else
  tokens=73728 UPDATES=${UPDATES:-$([[ -n $authors ]] && echo 320000 || echo 286000)} LR=${LR:-1.0} MAX_TOKENS=${MAX_TOKENS:-3072}
  model=(--arch transformer_lm_wiki103 --tokens-per-sample 3072
    --optimizer nag --clip-norm 0.1 --lr-scheduler cosine --t-mult 2 --lr-period-updates 270000
    --lr-shrink 0.75 --warmup-updates 16000 --warmup-init-lr 1e-07 --stop-min-lr 1e-09
    --min-lr 0.0001)
fi
check_launch
require_positive UPDATES MAX_TOKENS
[[ ${model[*]} =~ --tokens-per-sample\ ([0-9]+) ]]
block=${BASH_REMATCH[1]}
((MAX_TOKENS >= block)) ||
  die "MAX_TOKENS must be at least $block, the tokens of a sample of this model, got $MAX_TOKENS: fairseq would leave out nearly all of the text"
choose_update_freq "$tokens"
echo "a batch holds $((MAX_TOKENS / block)) samples of $block tokens: at most" \
  "$((MAX_TOKENS / block * block * NGPU * NNODES * UPDATE_FREQ)) tokens in an update"
keep_settings_of "$SAVE_DIR/train.settings" "$MODEL ${loss[*]} --lr $LR --max-update $UPDATES --seed $SEED $launch_settings" \
  "set SAVE_DIR to another folder, or remove $SAVE_DIR" "$SAVE_DIR/checkpoint_last.pt"
same_text "run train.sh with another SAVE_DIR"
! is_trained "$SAVE_DIR" "$UPDATES" || exit 0
cp "$OUT/bin/dict.txt" "$SAVE_DIR/dict.txt"
start=()
[[ -z $authors || ! -f $SAVE_DIR/checkpoint_best.pt ]] ||
  start=(--restore-file "$SAVE_DIR/checkpoint_best.pt")
launch_training "$OUT/bin" --user-dir "$root/rdrop_fairseq" --save-dir "$SAVE_DIR" \
  --task language_modeling --sample-break-mode none --skip-invalid-size-inputs-valid-test \
  "${start[@]}" "${model[@]}" "${loss[@]}" --lr "$LR" --max-update "$UPDATES" --seed "$SEED" \
  --save-interval-updates 1000 --keep-interval-updates 1 --no-epoch-checkpoints \
  --log-format "$(log_format)" | tee -a "$SAVE_DIR/train.log"
mark_trained "$SAVE_DIR" "$UPDATES"
