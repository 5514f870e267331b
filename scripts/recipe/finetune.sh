# shellcheck shell=bash disable=SC2034,SC2153,SC2154  # the caller sets the variables
# Sourced by the train.sh of glue and ner, after stages.sh, launch.sh and encoder.sh: fine-tuning
# of RoBERTa, or with --small MiniLM, once for every seed.

# need_data: prepare.sh has made the data for this encoder
need_data() {
  need_encoder
  [[ -d $data ]] || die "$data does not exist: run prepare.sh $TASK first"
  same_dictionary "run prepare.sh with this ROBERTA_PATH"
}

# gpu_or_cpu: for --small, a GPU only if there is one
gpu_or_cpu() { CPU=${CPU:-$(python -c 'import torch; print(int(not torch.cuda.is_available()))')}; }

# check_finetuning: the defaults of what is the same for all tasks, and checks of the settings
check_finetuning() {
  CRITERION=${CRITERION:-rdrop} ALPHA=${ALPHA:-1} SEED=${SEED:-1}
  WEIGHT_DECAY=${WEIGHT_DECAY:-0.1} DROPOUT=${DROPOUT:-0.1}
  ATTENTION_DROPOUT=${ATTENTION_DROPOUT:-0.1} POOLER_DROPOUT=${POOLER_DROPOUT:-0}
  MAX_TOKENS=${MAX_TOKENS:-4400} MAX_POSITIONS=${MAX_POSITIONS:-512}
  NGPU=${NGPU:-1}
  require_positive UPDATES BATCH MAX_SENTENCES MAX_TOKENS MAX_POSITIONS
  require_number WARMUP 0
  require_choice CRITERION rdrop baseline
  require_numbers SEED
  check_launch
  local per_step=$((MAX_SENTENCES * NGPU * NNODES))
  ((BATCH % per_step == 0)) ||
    die "BATCH ($BATCH) must be a multiple of MAX_SENTENCES x GPUs ($MAX_SENTENCES x $((NGPU * NNODES)) = $per_step): lower MAX_SENTENCES, or set another NGPU"
  UPDATE_FREQ=$((BATCH / per_step))
}

# fine_tune FAIRSEQ_TASK FLAGS [ARGUMENT...]: one run for each seed of SEED, skipped if it is done
# and resumed if it was interrupted. The criterion is called as the task, and with rdrop_ before it
#
#   FLAGS     of the model and the task: those that a run must not change
#   ARGUMENT  more for fairseq-train
fine_tune() {
  local task=$1 flags=$2 settings launched run seed
  shift 2
  settings="$(python "$root/scripts/recipe/encoder_flags.py" "$ROBERTA_PATH" ${ARCH:+--arch "$ARCH"} --max-positions "$MAX_POSITIONS")"
  settings+=" --dropout $DROPOUT --attention-dropout $ATTENTION_DROPOUT"
  settings+=" --pooler-dropout $POOLER_DROPOUT --max-positions $MAX_POSITIONS --init-token 0$flags"
  if [[ $CRITERION == rdrop ]]; then
    settings+=" --criterion rdrop_$task --rdrop-alpha $ALPHA"
    runs=$runs/rdrop-$ALPHA
  else
    settings+=" --criterion $task"
    runs=$runs/baseline
  fi
  settings+=" --lr $LR --warmup-updates $WARMUP --total-num-update $UPDATES --max-update $UPDATES"
  settings+=" --weight-decay $WEIGHT_DECAY --batch-size $MAX_SENTENCES"
  launched="--max-tokens $MAX_TOKENS --update-freq $UPDATE_FREQ --distributed-world-size $((NGPU * NNODES)) $TRAIN_ARGS"
  ((NGPU * NNODES == 1)) || settings+=" --find-unused-parameters" # the masked-LM head
  # a run is scored on the data that it was trained with
  launched+=" data $(data_checksum)"
  ((CPU)) || settings+=" --fp16-init-scale 4 --threshold-loss-scale 1 --fp16-scale-window 128"

  for seed in $SEED; do
    run=$runs/seed$seed
    keep_settings_of "$run/settings" "$settings $launched encoder $model_dir/$(basename "$ROBERTA_PATH")" \
      "set OUT to another folder, or remove $run" "$run/checkpoint_best.pt"
    if ! is_trained "$run" "$UPDATES"; then
      echo "training $run: $UPDATES updates of $BATCH examples"
      # the encoder's weights are taken when there is no checkpoint of this run to resume from
      # shellcheck disable=SC2086  # settings is several arguments
      launch_training "$data" --user-dir "$root/rdrop_fairseq" --task "$task" $settings \
        --finetune-from-model "$ROBERTA_PATH" --save-dir "$run" --seed "$seed" \
        "$@" --required-batch-size-multiple 1 \
        --optimizer adam --adam-betas '(0.9, 0.98)' --adam-eps 1e-06 --clip-norm 0.0 \
        --lr-scheduler polynomial_decay --no-epoch-checkpoints \
        --log-format simple --log-interval 50 | tee -a "$run/train.log"
      mark_trained "$run" "$UPDATES"
    fi
    forget_optimizer "$run"
  done
}
