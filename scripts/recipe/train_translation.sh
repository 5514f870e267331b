# shellcheck shell=bash disable=SC2153,SC2154  # the caller sets the variables
# Sourced by the train.sh of the translation recipes, after stages.sh and launch.sh: what of their
# settings is the same.
#
# The caller sets source, target, OUT, MAX_UPDATE, SEED.

CRITERION=${CRITERION:-rdrop} ALPHA=${ALPHA:-5}
RUN=${RUN:-$CRITERION}
require_choice CRITERION rdrop baseline
require_decimal ALPHA

# shellcheck disable=SC2034  # of SMALL=1
tiny=(--arch transformer
  --encoder-layers 2 --encoder-embed-dim 32 --encoder-ffn-embed-dim 64 --encoder-attention-heads 2
  --decoder-layers 2 --decoder-embed-dim 32 --decoder-ffn-embed-dim 64 --decoder-attention-heads 2)

# train_translation ARGUMENT...: trains in $OUT/$RUN, with the criterion that CRITERION names, or
# goes on with what is there
train_translation() {
  local run=$OUT/$RUN criterion=(label_smoothed_cross_entropy) workers=2
  require_positive MAX_UPDATE
  [[ $CRITERION == baseline ]] || criterion=(rdrop --rdrop-alpha "$ALPHA")
  [[ -d $OUT/data-bin ]] || die "no data in $OUT/data-bin: run prepare.sh first, with the same OUT"
  if [[ -f $run/checkpoint_last.pt ]]; then
    python "$root/scripts/recipe/check_dictionary.py" "$OUT/data-bin" "$run" \
      --generate-args="-s $source -t $target" >/dev/null || exit 1
  fi
  local arguments=(--source-lang "$source" --target-lang "$target" --task translation
    --criterion "${criterion[@]}" --label-smoothing 0.1 --seed "$SEED" "$@")
  # not the number of GPUs, nor of updates: a run may go on with other ones
  keep_settings_of "$run/train.settings" "${arguments[*]} $launch_settings" \
    "set RUN to another name, or remove $run" "$run/checkpoint_last.pt"
  ! is_trained "$run" "$MAX_UPDATE" || return 0
  cp "$OUT"/data-bin/dict.*.txt "$run/"
  ((!CPU)) || workers=0
  echo "training in $run; log: $run/train.log; curves: python $root/scripts/plot_training.py $run/train.log"
  launch_training "$OUT/data-bin" --user-dir "$root/rdrop_fairseq" --save-dir "$run" \
    --tensorboard-logdir "$run/tensorboard" --log-format json --log-interval 100 \
    --num-workers "$workers" --max-update "$MAX_UPDATE" "${arguments[@]}" 2>&1 | tee -ia "$run/train.log"
  mark_trained "$run" "$MAX_UPDATE"
}
