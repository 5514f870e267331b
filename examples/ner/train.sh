#!/usr/bin/env bash
# Fine-tunes RoBERTa to tag words, with R-Drop, once for every seed. Running it again skips what is
# done and resumes an interrupted training.
#
#   bash examples/ner/train.sh [--small] TASK
#
#   TASK     what prepare.sh has prepared: conll2003, for example
#   --small  MiniLM on a CPU (or a GPU if there is one), with settings that suit it
#
# Settings (environment variables); where they are from: README.md
#   ROBERTA_PATH   model.pt, beside its dict.txt; needed without --small
#   CRITERION      rdrop, or baseline: cross-entropy of the words          default: rdrop
#   ALPHA          weight of R-Drop's KL term                              default: 1
#   SEED           one seed, or several: "1 2 3"                           default: 1
#   EPOCHS         passes over the sentences   default: 5; with --small conll2003 1, wnut17 2
#   BATCH          sentences in an update      default: 16
#   LR             default: 2e-5 (RoBERTa-large: give 1e-5), with --small 3e-4
#   UPDATES, WARMUP   default: those of EPOCHS, and six in a hundred of them
#   WEIGHT_DECAY   default: 0.1; DROPOUT and ATTENTION_DROPOUT             default: 0.1
#   POOLER_DROPOUT before and inside the classifier                        default: 0
#   MAX_SENTENCES  sentences in a batch of one GPU                         default: BATCH
#   MAX_TOKENS     tokens in a batch of one GPU, of one pass               default: 4400
#   MAX_POSITIONS  longer sentences are cut after the last word that fits  default: 512
#   NGPU, NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT, BF16, CPU, TRAIN_ARGS   see scripts/recipe/launch.sh;
#                  NGPU: 1
#   OUT, SMALL_DIR as prepare.sh was given them
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$root/scripts/recipe/launch.sh"
source "$here/settings.sh"

read_arguments "$@"
need_encoder
[[ -d $data ]] || die "$data does not exist: run prepare.sh $TASK first"
cmp -s "$model_dir/dict.txt" "$data/input0/dict.txt" ||
  die "$data was made with another dictionary than $model_dir/dict.txt: run prepare.sh with this ROBERTA_PATH"

defaults=(5 2e-5)
if $small; then
  case $TASK in
    conll2003) defaults=(1 3e-4) ;;
    wnut17) defaults=(2 3e-4) ;;
    *) defaults=(5 3e-4) ;;
  esac
  if [[ -z ${CPU:-} ]]; then
    CPU=$(python -c 'import torch; print(int(not torch.cuda.is_available()))')
  fi
fi
EPOCHS=${EPOCHS:-${defaults[0]}} BATCH=${BATCH:-16} LR=${LR:-${defaults[1]}}
CRITERION=${CRITERION:-rdrop} ALPHA=${ALPHA:-1} SEED=${SEED:-1}
WEIGHT_DECAY=${WEIGHT_DECAY:-0.1} DROPOUT=${DROPOUT:-0.1} ATTENTION_DROPOUT=${ATTENTION_DROPOUT:-0.1}
POOLER_DROPOUT=${POOLER_DROPOUT:-0}
MAX_SENTENCES=${MAX_SENTENCES:-$BATCH} MAX_TOKENS=${MAX_TOKENS:-4400} MAX_POSITIONS=${MAX_POSITIONS:-512}
NGPU=${NGPU:-1}
require_positive EPOCHS BATCH MAX_SENTENCES MAX_TOKENS MAX_POSITIONS
require_choice CRITERION rdrop baseline
require_decimal ALPHA
for seed in $SEED; do
  [[ $seed =~ ^[0-9]+$ ]] || die "SEED must be whole numbers, got '$SEED'"
done
check_launch
per_step=$((MAX_SENTENCES * NGPU * NNODES))
((BATCH % per_step == 0)) ||
  die "BATCH ($BATCH) must be a multiple of MAX_SENTENCES x GPUs ($MAX_SENTENCES x $((NGPU * NNODES)) = $per_step): lower MAX_SENTENCES"
UPDATE_FREQ=$((BATCH / per_step))
rows=$(wc -l <"$data/text/train.input0")
UPDATES=${UPDATES:-$((EPOCHS * ((rows + BATCH - 1) / BATCH)))}
WARMUP=${WARMUP:-$((UPDATES * 6 / 100))}
require_positive UPDATES
require_number WARMUP 0

architecture=$(python "$root/scripts/recipe/encoder_flags.py" "$ROBERTA_PATH")
settings="$architecture --dropout $DROPOUT --attention-dropout $ATTENTION_DROPOUT"
settings+=" --pooler-dropout $POOLER_DROPOUT --max-positions $MAX_POSITIONS --init-token 0"
if [[ $CRITERION == rdrop ]]; then
  settings+=" --criterion rdrop_sequence_tagging --rdrop-alpha $ALPHA"
  runs=$runs/rdrop-$ALPHA
else
  settings+=" --criterion sequence_tagging"
  runs=$runs/baseline
fi
settings+=" --lr $LR --warmup-updates $WARMUP --total-num-update $UPDATES --max-update $UPDATES"
settings+=" --weight-decay $WEIGHT_DECAY --batch-size $MAX_SENTENCES"
launched="--max-tokens $MAX_TOKENS --update-freq $UPDATE_FREQ --distributed-world-size $((NGPU * NNODES)) $TRAIN_ARGS"
((NGPU * NNODES == 1)) || settings+=" --find-unused-parameters" # the masked-LM head
((CPU)) || settings+=" --fp16-init-scale 4 --threshold-loss-scale 1 --fp16-scale-window 128"
((CPU == 0)) || keep_memory

for seed in $SEED; do
  run=$runs/seed$seed
  keep_settings_of "$run/checkpoint_best.pt" "$run/settings" "$settings $launched encoder $model_dir/$(basename "$ROBERTA_PATH")" \
    "set OUT to another folder, or remove $run"
  if ! is_trained "$run" "$UPDATES"; then
    echo "training $run: $UPDATES updates of $BATCH sentences"
    # the encoder's weights are taken when there is no checkpoint of this run to resume from
    # shellcheck disable=SC2086  # settings is several arguments
    launch_training "$data" --user-dir "$root/rdrop_fairseq" --task sequence_tagging $settings \
      --finetune-from-model "$ROBERTA_PATH" --save-dir "$run" --seed "$seed" \
      --best-checkpoint-metric f1 --maximize-best-checkpoint-metric \
      --required-batch-size-multiple 1 \
      --optimizer adam --adam-betas '(0.9, 0.98)' --adam-eps 1e-06 --clip-norm 0.0 \
      --lr-scheduler polynomial_decay --no-epoch-checkpoints \
      --log-format simple --log-interval 50 | tee -a "$run/train.log"
    mark_trained "$run"
  fi
  forget_optimizer "$run"
done
