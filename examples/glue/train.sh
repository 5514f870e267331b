#!/usr/bin/env bash
# Fine-tunes RoBERTa on a task with R-Drop, once for every seed. Running it again skips what is
# done and resumes an interrupted training.
#
#   bash examples/glue/train.sh [--small] TASK
#
#   TASK     what prepare.sh has prepared: RTE, for example
#   --small  MiniLM on a CPU (or a GPU if there is one), with settings that suit it
#
# Settings (environment variables); TASK's are those of the table in README.md:
#   ROBERTA_PATH   model.pt, beside its dict.txt; needed without --small
#   CRITERION      rdrop, or baseline: fairseq's sentence_prediction       default: rdrop
#   ALPHA          weight of R-Drop's KL term (paper: 0.1, 0.5 or 1), or, as 0.5xB, how many
#                  times the examples in an update: what a KL that is summed over a batch
#                  weighs beside cross-entropy that is averaged (README)  default: 1
#   SEED           one seed, or several: "1 2 3"                           default: 1
#   UPDATES, LR, BATCH (examples in an update)                             default: TASK's
#   WARMUP         updates until LR is reached           default: TASK's share of UPDATES
#   WEIGHT_DECAY   default: 0.1; DROPOUT and ATTENTION_DROPOUT             default: 0.1
#   POOLER_DROPOUT before and inside the classifier                        default: 0
#   MAX_SENTENCES  examples in a batch of one GPU                          default: 8, with --small BATCH
#   MAX_TOKENS     tokens in a batch of one GPU, of one pass               default: 4400
#   MAX_POSITIONS  of the encoder: longer examples are cut off             default: 512
#   ARCH           refuse ROBERTA_PATH unless it has this architecture     default: any
#   NGPU, NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT, BF16, CPU, TRAIN_ARGS   see scripts/recipe/launch.sh;
#                  NGPU: 1
#   TSV_DIR, SMALL_DIR   as prepare.sh was given them
#   OUT            where to write                                          default: runs/glue
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$root/scripts/recipe/launch.sh"
source "$here/settings.sh"
source "$root/scripts/recipe/finetune.sh"

read_arguments "$@"
need_data

# the table of R-Drop's huggingface_transformer_src/README.md: fairseq's updates and warm-up
# (examples/roberta/config/finetuning), learning rate 1e-5 for all (fairseq: 2e-5 for RTE and STS-B),
# RTE's batch 8 (fairseq: 16)
case $TASK in #     updates warmup batch
  MNLI) defaults=(123873 7432 32) ;;
  QNLI) defaults=(33112 1986 32) ;;
  QQP) defaults=(113272 28318 32) ;;
  RTE) defaults=(2036 122 8) ;;
  SST-2) defaults=(20935 1256 32) ;;
  MRPC) defaults=(2296 137 16) ;;
  CoLA) defaults=(5336 320 16) ;;
  STS-B) defaults=(3598 214 16) ;;
  *) defaults=(2000 120 16) ;; # as RTE: ten epochs of 3,000 examples
esac
if $small; then
  defaults=(100 6 32)
  LR=${LR:-1e-4}
  MAX_SENTENCES=${MAX_SENTENCES:-${BATCH:-32}}
  gpu_or_cpu
fi
UPDATES=${UPDATES:-${defaults[0]}}
require_positive UPDATES
WARMUP=${WARMUP:-$((UPDATES * defaults[1] / defaults[0]))}
BATCH=${BATCH:-${defaults[2]}}
LR=${LR:-1e-5}
MAX_SENTENCES=${MAX_SENTENCES:-8}
check_finetuning
[[ $ALPHA =~ ^[0-9]*\.?[0-9]+(xB)?$ ]] ||
  die "ALPHA must be a number >= 0, or such a number of batches (0.5xB), got '$ALPHA'"
if [[ $ALPHA == *xB ]]; then
  [[ -f $data/label/dict.txt ]] ||
    die "ALPHA is $ALPHA, but $TASK is a regression, whose errors are all averaged alike: give a number"
  # %.10g: as one would write the product
  product=$(awk -v alpha="${ALPHA%xB}" -v batch="$BATCH" 'BEGIN { printf "%.10g", alpha * batch }')
  [[ $CRITERION == baseline ]] || echo "alpha $ALPHA: ${ALPHA%xB} x $BATCH examples = $product"
  ALPHA=$product
fi

flags=
# batches of neighbours in prepare.sh's order, by length, which takes a third of the time
! $small || flags+=" --no-shuffle"
# BERT has [SEP] once between two sentences, RoBERTa </s> twice
[[ -f $model_dir/tokenizer.json ]] || flags+=" --separator-token 2"
if [[ -f $data/label/dict.txt ]]; then
  classes=$(grep -vc '^madeupword' "$data/label/dict.txt")
  flags+=" --num-classes $classes"
  best=accuracy
  if [[ $TASK == CoLA ]]; then
    flags+=" --report-mcc"
    best=mcc
  elif [[ $TASK == QQP || $TASK == MRPC ]]; then
    flags+=" --report-acc-and-f1"
  fi
else
  flags+=" --num-classes 1 --regression-target --report-pearson-and-spearman"
  best=pearson
fi
flags+=" --best-checkpoint-metric $best --maximize-best-checkpoint-metric"
fine_tune sentence_prediction "$flags" --shorten-method truncate
