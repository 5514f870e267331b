#!/usr/bin/env bash
# Trains a ViT on what prepare.sh has prepared, with Hugging Face's Trainer. Running it again goes
# on from the newest checkpoint, and does nothing once the last update is reached.
#
#   bash examples/vit/train.sh NAME [--dry-run] [FLAG...]
#   ALPHA=1 SEED=2 bash examples/vit/train.sh --small [NAME] [--dry-run] [FLAG...]
#
#   NAME       what prepare.sh was given
#   --small    a ViT of 0.55 million parameters from scratch, on one CPU core
#   --dry-run  print the command
#   FLAG       of train.py, in place of what stands below: its own, or those of transformers'
#              TrainingArguments, such as --bf16 or --learning_rate 1e-2
#
# The hyper-parameters are the authors' (README.md). Writes model/ and curve.tsv, accuracy along the
# way, to the run's folder.
#
# Settings (environment variables):
#   OUT        what prepare.sh was given                         default: runs/vit
#   MODEL      base or large (ViT-B/16, ViT-L/16, pretrained on ImageNet-21k, from huggingface.co),
#              or the folder of a pretrained ViT                 default: base
#   CRITERION  rdrop, or baseline: cross-entropy                 default: rdrop
#   RUN        folder in OUT/NAME                                default: CRITERION
#   ALPHA      weight of the KL term; README.md says why         default: 19.2; --small: 1
#   UPDATES    of training                                       default: 20000; --small: 3000
#   SEED       of parameters, batches and dropout                default: 1
#   NGPU       GPUs of this machine; an update has 512 images on any number    default: 1
#   OMP_NUM_THREADS  of a CPU; seconds compare with one          default: 1
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/name.sh"
CRITERION=${CRITERION:-rdrop} MODEL=${MODEL:-base} NGPU=${NGPU:-1}
require_choice CRITERION rdrop baseline
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
updates=20000 alpha=19.2
((!${#small[@]})) || updates=3000 alpha=1
UPDATES=${UPDATES:-$updates}
for number in UPDATES NGPU; do
  [[ ${!number} =~ ^[1-9][0-9]*$ ]] || die "$number must be a whole number of at least 1, got '${!number}'"
done
rdrop=(--alpha "${ALPHA:-$alpha}")
[[ $CRITERION == rdrop ]] || rdrop=()

if ((${#small[@]})); then
  every=$(((UPDATES + 19) / 20))
  model=(--model small --image_size 28 --attention_dropout 0.1 --use_cpu
    --learning_rate 1e-3 --warmup_steps "$((UPDATES / 10))" --optim adamw_torch --weight_decay 0.05
    --per_device_train_batch_size 64 --dataloader_num_workers 0)
else
  every=500 size=224 rate=8e-3
  [[ $name != imagenet ]] || size=384 rate=1e-2
  [[ ! $MODEL =~ ^(base|large)$ ]] || MODEL=google/vit-$MODEL-patch16-224-in21k
  ((512 % (32 * NGPU) == 0)) || die "NGPU must divide 16, for 512 images an update by 32, got $NGPU"
  model=(--model="$MODEL" --image_size "$size" --augment
    --learning_rate "$rate" --warmup_steps 500 --optim sgd --optim_args momentum=0.9 --weight_decay 0
    --per_device_train_batch_size 32 --gradient_accumulation_steps "$((512 / 32 / NGPU))"
    --dataloader_num_workers 4)
fi
python=(python)
((NGPU == 1)) || python=(torchrun --standalone --nproc-per-node "$NGPU")

run=$OUT/${RUN:-$CRITERION}
rdrop run --folder "$run" --updates "$UPDATES" --inputs "$data" ${dry[@]+"${dry[@]}"} -- \
  "${python[@]}" "$here/train.py" --data "$data" --output_dir "$run" \
  "${model[@]}" --dropout 0.1 ${rdrop[@]+"${rdrop[@]}"} \
  --lr_scheduler_type cosine --max_grad_norm 1 --max_steps "$UPDATES" --seed "${SEED:-1}" \
  --per_device_eval_batch_size 64 --eval_strategy steps --eval_steps "$every" \
  --save_strategy steps --save_steps "$every" --save_total_limit 2 --logging_steps "$every" \
  --remove_unused_columns False --report_to none --disable_tqdm True \
  ${flags[@]+"${flags[@]}"}
((${#dry[@]})) || rm -rf "$run"/checkpoint-* # model/ is complete
