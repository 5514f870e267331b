#!/usr/bin/env bash
# Fine-tunes RoBERTa to tag words, with R-Drop or without for comparison, on what prepare.sh has made.
# Running it again goes on from the last checkpoint. At the end the best one is kept.
#
#   bash examples/ner/train.sh TASK [--small] [--dry-run] [FLAG...]
#
#   TASK       what prepare.sh has prepared: conll2003, for example
#   --small    MiniLM instead of RoBERTa, also on a CPU, with settings that suit it
#   --dry-run  print the command
#   FLAG       of fairseq-train, in place of what stands below: with RoBERTa-large --lr 1e-5
#
# Settings (environment variables); where they are from: README.md
#   OUT           where prepare.sh has written   default: runs/ner.TASK; --small: runs/ner.TASK.small
#   ROBERTA_PATH  model.pt, beside its dict.txt; needed without --small
#   CRITERION     rdrop, or baseline: cross-entropy of the words        default: rdrop
#   RUN           folder in OUT                                         default: CRITERION
#   ALPHA         weight of the KL term                                 default: 1
#   UPDATES       of training      default: five epochs; --small: one of conll2003, two of wnut17
#   SEED          of the head, batches and dropout                      default: 1
#   NGPU          GPUs of this machine; more: see rdrop run --help      default: 1
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/task.sh"
CRITERION=${CRITERION:-rdrop} ALPHA=${ALPHA:-1} SEED=${SEED:-1}
RUN=${RUN:-$CRITERION}
require_choice CRITERION rdrop baseline
export NGPU=${NGPU:-1}
need_encoder
[[ -z ${UPDATES:-} || $UPDATES =~ ^[1-9][0-9]*$ ]] ||
  die "UPDATES must be a whole number of at least 1, got '$UPDATES'"

batch=16 epochs=5 lr=2e-5
if ((${#small[@]})); then
  batch=8 lr=2e-4
  case $TASK in
    conll2003*) epochs=1 ;;
    wnut17) epochs=2 ;;
  esac
fi
case $TASK in
  conll2003*) sentences=14041 ;;
  wnut17) sentences=3394 ;;
  *)
    [[ -f $OUT/pieces/train.input0 ]] ||
      die "$OUT/pieces/train.input0 does not exist: run prepare.sh $TASK first, with the same OUT"
    sentences=$(wc -l <"$OUT/pieces/train.input0")
    ;;
esac
UPDATES=${UPDATES:-$((epochs * ((sentences + batch - 1) / batch)))}
criterion=(--criterion rdrop_sequence_tagging --rdrop-alpha "$ALPHA")
[[ $CRITERION == rdrop ]] || criterion=(--criterion sequence_tagging)
model=$(rdrop encoder flags "$ROBERTA_PATH")

run=$OUT/$RUN
# shellcheck disable=SC2086  # model is several flags
rdrop run --folder "$run" --inputs "$OUT/data-bin" "$ROBERTA_PATH" --update-sentences $batch \
  --keep-best ${small[@]+"${small[@]}"} ${dry[@]+"${dry[@]}"} -- \
  fairseq-train "$OUT/data-bin" --user-dir rdrop_fairseq --save-dir "$run" \
  --task sequence_tagging --init-token 0 \
  $model --finetune-from-model "$ROBERTA_PATH" \
  --dropout 0.1 --attention-dropout 0.1 --pooler-dropout 0 \
  "${criterion[@]}" --best-checkpoint-metric f1 --maximize-best-checkpoint-metric \
  --optimizer adam --adam-betas '(0.9,0.98)' --adam-eps 1e-06 --weight-decay 0.1 --clip-norm 0 \
  --batch-size $batch --max-tokens 4400 --required-batch-size-multiple 1 \
  --lr $lr --lr-scheduler polynomial_decay --warmup-updates $((UPDATES * 6 / 100)) \
  --total-num-update "$UPDATES" --max-update "$UPDATES" --seed "$SEED" \
  --fp16 --fp16-init-scale 4 --threshold-loss-scale 1 --fp16-scale-window 128 \
  --find-unused-parameters --no-epoch-checkpoints --log-format simple --log-interval 50 \
  ${flags[@]+"${flags[@]}"}
