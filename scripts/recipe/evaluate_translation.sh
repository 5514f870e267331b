# shellcheck shell=bash disable=SC2153,SC2154  # the caller sets the variables
# Sourced by the evaluate.sh of the translation recipes.
#
# The caller sets target, OUT, SMALL, BEAM, LENPEN and SCORE_ARGS.

# evaluate_translation: translates the test set with the average of the last AVERAGE
# checkpoints of $OUT/RUN, scores it, and compares it with the baseline run if there is one.
# Tokenised BLEU, but of Chinese, is of the model's tokens, or of Moses' of its sentencepieces' text
evaluate_translation() {
  RUN=${RUN:-rdrop}
  local run=$OUT/$RUN baseline=() options=()
  if ((SMALL)); then
    AVERAGE=${AVERAGE:-2}
    export GENERATE_ARGS=${GENERATE_ARGS:---max-len-b 10} # it has not learnt when to stop
  fi
  AVERAGE=${AVERAGE:-10}
  require_number AVERAGE 0
  [[ -d $OUT/data-bin ]] || die "no data in $OUT/data-bin: run prepare.sh first, with the same OUT"
  [[ -f $run/checkpoint_last.pt ]] || die "no checkpoints in $run: run train.sh first, with the same OUT and RUN"
  export DETOKENISE="" BEAM LENPEN SCORE_ARGS
  if uses_moses; then
    DETOKENISE=$target
  elif [[ $target != zh ]]; then
    SCORE_ARGS+=" --tokenised $target"
  fi
  if [[ $RUN != baseline && -f $OUT/baseline/hyp.txt ]]; then
    baseline=(--baseline "$OUT/baseline/hyp.txt")
  fi
  options=("$run/checkpoint_best.pt")
  ((!AVERAGE)) || options=("$run" --average "$AVERAGE")
  [[ $target == zh ]] || options+=(--pieces "$OUT/pieces/test.pieces.$target")
  bash "$root/scripts/evaluate.sh" "$OUT/data-bin" "${options[@]}" --out "$run" \
    --reference "$OUT/clean/test.$target" ${baseline[@]+"${baseline[@]}"}
  ((${#baseline[@]})) || [[ $RUN == baseline ]] ||
    echo "No paired bootstrap: there is no $OUT/baseline/hyp.txt (CRITERION=baseline train.sh, then RUN=baseline evaluate.sh)"
}
