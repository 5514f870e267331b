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
#   BATCH          sentences in an update      default: 16, with --small 8
#   LR             default: 2e-5 (RoBERTa-large: give 1e-5), with --small 2e-4
#   UPDATES, WARMUP   default: those of EPOCHS, and six in a hundred of them
#   WEIGHT_DECAY   default: 0.1; DROPOUT and ATTENTION_DROPOUT             default: 0.1
#   POOLER_DROPOUT before and inside the classifier                        default: 0
#   MAX_SENTENCES  sentences in a batch of one GPU                         default: BATCH
#   MAX_TOKENS     tokens in a batch of one GPU, of one pass               default: 4400
#   MAX_POSITIONS  of the encoder: longer sentences are cut after the last word that fits; default: 512
#   ARCH           refuse ROBERTA_PATH unless it has this architecture     default: any
#   NGPU, NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT, BF16, CPU, TRAIN_ARGS   see scripts/recipe/launch.sh;
#                  NGPU: 1
#   OUT, SMALL_DIR as prepare.sh was given them
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$root/scripts/recipe/launch.sh"
source "$here/settings.sh"
source "$root/scripts/recipe/finetune.sh"

read_arguments "$@"
need_data
if $small; then
  BATCH=${BATCH:-8} LR=${LR:-2e-4}
  case $TASK in
    conll2003) EPOCHS=${EPOCHS:-1} ;;
    wnut17) EPOCHS=${EPOCHS:-2} ;;
  esac
  gpu_or_cpu
fi
EPOCHS=${EPOCHS:-5} BATCH=${BATCH:-16} LR=${LR:-2e-5}
MAX_SENTENCES=${MAX_SENTENCES:-$BATCH}
require_positive EPOCHS BATCH
rows=$(wc -l <"$data/text/train.input0")
UPDATES=${UPDATES:-$((EPOCHS * ((rows + BATCH - 1) / BATCH)))}
require_positive UPDATES
WARMUP=${WARMUP:-$((UPDATES * 6 / 100))}
check_finetuning
# fairseq makes a batch of fewer sentences where the longest is long
longest=$(python -c 'import json, sys; print(2 + json.load(sys.stdin)["longest"]["train"])' <"$data/text/info.json")
((longest <= MAX_POSITIONS)) || longest=$MAX_POSITIONS
((longest * MAX_SENTENCES <= MAX_TOKENS)) ||
  echo "note: batches of sentences with more than $((MAX_TOKENS / MAX_SENTENCES)) tokens hold fewer than $MAX_SENTENCES, so that $UPDATES updates are" \
    "less than EPOCHS=$EPOCHS: set MAX_TOKENS to $((longest * MAX_SENTENCES)) or, if memory is short, a lower MAX_SENTENCES" >&2
require_decimal ALPHA
fine_tune sequence_tagging " --best-checkpoint-metric f1 --maximize-best-checkpoint-metric"
