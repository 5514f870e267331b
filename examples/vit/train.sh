#!/usr/bin/env bash
# Trains a ViT on what prepare.sh has prepared, with Hugging Face's Trainer. Running it again goes
# on from the newest checkpoint, and does nothing once the last update is reached.
#
#   bash examples/vit/train.sh NAME
#   ALPHA=1 SEED=2 bash examples/vit/train.sh --small
#
#   NAME     what prepare.sh was given
#   --small  a ViT of 0.55 million parameters from scratch, on one CPU core
#
# Writes to $OUT/NAME/MODEL/$RUN: model/, curve.tsv (accuracy along the way), train.log.
#
# Settings (environment variables): default at full size (the authors'; ImageNet's, where they
# differ, in brackets); with --small
#   MODEL       base or large (ViT-B/16, ViT-L/16, pretrained on ImageNet-21k, from
#               huggingface.co), or the folder of a pretrained ViT         base; small
#   CRITERION   rdrop, or baseline: cross-entropy                          rdrop
#   ALPHA       weight of R-Drop's KL term; README.md says why             19.2; 1
#   UPDATES     updates of training                                        20000; 3000
#   BATCH       images in an update                                        512; 64
#   GPU_BATCH   images that a GPU takes at once, of one pass               32; 64
#   LR          learning rate, after a warm-up, then cosine down to 0      8e-3 (1e-2); 1e-3
#   WARMUP      updates of it                                              500; UPDATES/10
#   WEIGHT_DECAY                                                           0; 0.05
#   OPTIMIZER   sgd (momentum 0.9) or adamw                                sgd; adamw
#   DROPOUT     of embeddings, after attention, after feed-forward         0.1
#   ATTENTION_DROPOUT  of attention's weights                              0; 0.1
#   IMAGE_SIZE  height and width                                           224 (384); 28
#   AUGMENT     1: random parts of the images, 0: none                     1; 0
#   LABEL_SMOOTHING  as PyTorch defines it                                 0
#   EVAL_EVERY  updates from one evaluation and checkpoint to the next     500; UPDATES/20
#   SEED        of parameters, batches and dropout                         1
#   RUN         name of the run, SETTING.SEED                              baseline.SEED, alphaALPHA.SEED
#   WORKERS     processes that load images                                 4; 0
#   OMP_NUM_THREADS  threads on a CPU                                      1
#   BF16        1: autocast to bfloat16                                    0: float32
#   NGPU, CPU, TRAIN_ARGS (here more arguments for train.py)   see scripts/recipe/launch.sh,
#               whose NNODES, NODE_RANK and MASTER_PORT stay unset: one machine
#   OUT         where to write                                             runs/vit
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$root/scripts/recipe/launch.sh"
source "$here/settings.sh"

read_arguments "$@"
[[ -f $data ]] || die "$data is not there: run prepare.sh first, with the same OUT"
if $small; then
  UPDATES=${UPDATES:-3000} BATCH=${BATCH:-64} LR=${LR:-1e-3} ALPHA=${ALPHA:-1}
  WEIGHT_DECAY=${WEIGHT_DECAY:-0.05} OPTIMIZER=${OPTIMIZER:-adamw} IMAGE_SIZE=${IMAGE_SIZE:-28}
  ATTENTION_DROPOUT=${ATTENTION_DROPOUT:-0.1} AUGMENT=${AUGMENT:-0} WORKERS=${WORKERS:-0}
  CPU=${CPU:-1} NGPU=${NGPU:-1} GPU_BATCH=${GPU_BATCH:-$BATCH}
  require_positive UPDATES
  WARMUP=${WARMUP:-$((UPDATES / 10))} EVAL_EVERY=${EVAL_EVERY:-$(((UPDATES + 19) / 20))}
elif [[ $NAME == imagenet ]]; then
  LR=${LR:-1e-2} IMAGE_SIZE=${IMAGE_SIZE:-384}
fi
UPDATES=${UPDATES:-20000} BATCH=${BATCH:-512} GPU_BATCH=${GPU_BATCH:-32} LR=${LR:-8e-3}
ALPHA=${ALPHA:-19.2} WARMUP=${WARMUP:-500} WEIGHT_DECAY=${WEIGHT_DECAY:-0}
OPTIMIZER=${OPTIMIZER:-sgd} DROPOUT=${DROPOUT:-0.1} ATTENTION_DROPOUT=${ATTENTION_DROPOUT:-0}
IMAGE_SIZE=${IMAGE_SIZE:-224} AUGMENT=${AUGMENT:-1} LABEL_SMOOTHING=${LABEL_SMOOTHING:-0}
EVAL_EVERY=${EVAL_EVERY:-500} WORKERS=${WORKERS:-4}
CRITERION=${CRITERION:-rdrop} SEED=${SEED:-1}
require_positive UPDATES BATCH GPU_BATCH IMAGE_SIZE EVAL_EVERY
require_number WARMUP 0
require_number SEED 0
require_number WORKERS 0
require_decimal ALPHA
require_decimal WEIGHT_DECAY
require_decimal DROPOUT
require_decimal ATTENTION_DROPOUT
require_decimal LABEL_SMOOTHING
require_choice CRITERION rdrop baseline
require_choice OPTIMIZER sgd adamw
require_choice AUGMENT 0 1
check_launch
((NNODES == 1)) || die "trains on one machine, got NNODES=$NNODES"
((BATCH % (GPU_BATCH * NGPU) == 0)) ||
  die "BATCH ($BATCH) must be a multiple of GPU_BATCH x GPUs ($GPU_BATCH x $NGPU): lower GPU_BATCH, or set another NGPU"

objective="--alpha $ALPHA" setting=alpha$ALPHA
[[ $CRITERION == rdrop ]] || objective="" setting=baseline
RUN=${RUN:-$setting.$SEED}
[[ $RUN =~ ^[A-Za-z0-9][A-Za-z0-9._-]*\.[0-9]+$ ]] ||
  die "RUN must be SETTING.SEED, of letters, digits, dots and dashes, got '$RUN'; see --help"
optimizer="--optim sgd --optim_args momentum=0.9"
[[ $OPTIMIZER == sgd ]] || optimizer="--optim adamw_torch"
settings="--model $checkpoint --image_size $IMAGE_SIZE $objective --dropout $DROPOUT"
settings+=" --attention_dropout $ATTENTION_DROPOUT --augment $AUGMENT $optimizer --max_steps $UPDATES"
settings+=" --learning_rate $LR --lr_scheduler_type cosine --warmup_steps $WARMUP"
settings+=" --weight_decay $WEIGHT_DECAY --max_grad_norm 1 --label_smoothing_factor $LABEL_SMOOTHING"
settings+=" --seed $SEED --eval_steps $EVAL_EVERY"
# a run is scored on the images that it was trained with
settings+=" --data-checksum $(checksum "$data")"
# how an update is made up; its sum is what matters
launched="--per_device_train_batch_size $GPU_BATCH --gradient_accumulation_steps $((BATCH / GPU_BATCH / NGPU))"
((!CPU)) || launched+=" --use_cpu"
((!BF16)) || launched+=" --bf16"
launched+=" $TRAIN_ARGS"

run=$runs/$RUN
shopt -s nullglob
products=("$run"/checkpoint-*/trainer_state.json "$run/updates")
keep_settings_of "$run/settings" "$settings --batch $BATCH $TRAIN_ARGS" \
  "set RUN to another name, or remove $run" "${products[0]}"
! is_trained "$run" "$UPDATES" || exit 0

start=(python)
if ((!CPU)) && [[ $(python -c 'import torch; print(torch.cuda.device_count())') -gt 1 ]] || ((NGPU > 1)); then
  # without it Trainer would take all GPUs in one process, and a batch for each
  start=(torchrun --standalone --nproc-per-node "$NGPU")
fi
((!CPU)) || keep_memory
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # one thread: seconds of CPU time compare
echo "training $run: $UPDATES updates of $BATCH images"
# shellcheck disable=SC2086  # settings is several arguments
"${start[@]}" "$here/train.py" --data "$data" --output_dir "$run" ${settings% --data-checksum*} $launched \
  --per_device_eval_batch_size 64 --eval_strategy steps --save_strategy steps \
  --save_steps "$EVAL_EVERY" --save_total_limit 2 --logging_steps "$EVAL_EVERY" \
  --dataloader_num_workers "$WORKERS" --remove_unused_columns False --report_to none \
  --disable_tqdm True 2>&1 | tee -a "$run/train.log"
write_line "$run/updates" "$UPDATES"
rm -rf "$run"/checkpoint-* # model/ is complete
