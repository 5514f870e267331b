#!/usr/bin/env bash
# Fine-tunes RoBERTa on a task with R-Drop, or without for comparison, on what prepare.sh has made.
# Running it again goes on from the last checkpoint. At the end the best one is kept.
#
#   bash examples/glue/train.sh TASK [--small] [--dry-run] [FLAG...]
#
#   TASK       what prepare.sh has prepared: RTE, for example
#   --small    MiniLM instead of RoBERTa, also on a CPU, with settings that suit it
#   --dry-run  print the command
#   FLAG       of fairseq-train, in place of what stands below, such as --lr 2e-5 or --batch-size 4
#
# Settings (environment variables); TASK's are those of the table in README.md:
#   OUT           where prepare.sh has written   default: runs/glue.TASK; --small: runs/glue.TASK.small
#   ROBERTA_PATH  model.pt, beside its dict.txt; needed without --small
#   CRITERION     rdrop, or baseline: fairseq's sentence_prediction     default: rdrop
#   RUN           folder in OUT                                         default: CRITERION
#   ALPHA         weight of the KL term; which: see README.md           default: 1
#   UPDATES       of training                                           default: TASK's; --small: 100
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

# updates, warm-up and sentences in an update: the table of R-Drop's
# huggingface_transformer_src/README.md, which is fairseq's (examples/roberta/config/finetuning) but
# for RTE's 8 sentences (fairseq: 16)
case $TASK in
  MNLI) size=(123873 7432 32) ;;
  QNLI) size=(33112 1986 32) ;;
  QQP) size=(113272 28318 32) ;;
  RTE) size=(2036 122 8) ;;
  SST-2) size=(20935 1256 32) ;;
  MRPC) size=(2296 137 16) ;;
  CoLA) size=(5336 320 16) ;;
  STS-B) size=(3598 214 16) ;;
  *) size=(2000 120 16) ;; # as RTE: ten epochs of 3,000 examples
esac
batches=(--lr 1e-5 --batch-size 8)
if ((${#small[@]})); then
  size=(100 6 32)
  # neighbours of prepare.sh's order, by length, share a batch: a third of the time
  batches=(--lr 1e-4 --batch-size 32 --no-shuffle)
fi
UPDATES=${UPDATES:-${size[0]}}

# the head, and what tells the best checkpoint
regression=(--num-classes 1 --regression-target --report-pearson-and-spearman)
case $TASK in
  MNLI) head=(--num-classes 3) best=accuracy ;;
  QNLI | RTE | SST-2 | reviews | mr) head=(--num-classes 2) best=accuracy ;;
  QQP | MRPC) head=(--num-classes 2 --report-acc-and-f1) best=accuracy ;;
  CoLA) head=(--num-classes 2 --report-mcc) best=mcc ;;
  STS-B | mr-rating) head=("${regression[@]}") best=pearson ;;
  *)
    [[ -d $OUT/text ]] || die "$OUT/text does not exist: run prepare.sh $TASK first, with the same OUT"
    head=("${regression[@]}") best=pearson
    [[ ! -f $OUT/text/labels.txt ]] ||
      head=(--num-classes "$(wc -l <"$OUT/text/labels.txt")") best=accuracy
    ;;
esac
# BERT has [SEP] once between two sentences, RoBERTa </s> twice
[[ -f $encoder/tokenizer.json ]] || head+=(--separator-token 2)
criterion=(--criterion rdrop_sentence_prediction --rdrop-alpha "$ALPHA")
[[ $CRITERION == rdrop ]] || criterion=(--criterion sentence_prediction)
model=$(rdrop encoder flags "$ROBERTA_PATH")

run=$OUT/$RUN
# shellcheck disable=SC2086  # model is several flags
rdrop run --folder "$run" --inputs "$OUT/data-bin" "$ROBERTA_PATH" --update-sentences "${size[2]}" \
  --keep-best ${small[@]+"${small[@]}"} ${dry[@]+"${dry[@]}"} -- \
  fairseq-train "$OUT/data-bin" --user-dir rdrop_fairseq --save-dir "$run" \
  --task sentence_prediction --init-token 0 "${head[@]}" --shorten-method truncate \
  $model --finetune-from-model "$ROBERTA_PATH" \
  --dropout 0.1 --attention-dropout 0.1 --pooler-dropout 0 \
  "${criterion[@]}" --best-checkpoint-metric "$best" --maximize-best-checkpoint-metric \
  --optimizer adam --adam-betas '(0.9,0.98)' --adam-eps 1e-06 --weight-decay 0.1 --clip-norm 0 \
  "${batches[@]}" --max-tokens 4400 --required-batch-size-multiple 1 \
  --lr-scheduler polynomial_decay --warmup-updates $((UPDATES * size[1] / size[0])) \
  --total-num-update "$UPDATES" --max-update "$UPDATES" --seed "$SEED" \
  --fp16 --fp16-init-scale 4 --threshold-loss-scale 1 --fp16-scale-window 128 \
  --find-unused-parameters --no-epoch-checkpoints --log-format simple --log-interval 50 \
  ${flags[@]+"${flags[@]}"}
