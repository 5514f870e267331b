#!/usr/bin/env bash
# Perplexity of a trained language model on the test set, by fairseq-eval-lm.
#
#   bash examples/wikitext103/evaluate.sh [CHECKPOINT]
#
#   CHECKPOINT  default: checkpoint_best.pt of the training with this OUT, MODEL, CRITERION, SEED
#
# Writes eval.$SUBSET.log and perplexity.$SUBSET.json beside the checkpoint; with PROTOCOL=authors
# for the adaptive model eval.$SUBSET.authors.log and perplexity.$SUBSET.authors.json.
#
# Settings (environment variables):
#   MODEL, CRITERION, SEED, OUT, SAVE_DIR, SMALL, PROTOCOL   as given to train.sh
#   SUBSET             test or valid                           default: test
#   TOKENS_PER_SAMPLE  tokens that the model sees at once      default: gpt 512, adaptive 3072
#                                                              (PROTOCOL=authors 512), SMALL 128
#   CONTEXT_WINDOW     how many of them are context only       default: gpt 400, adaptive 2560
#                                                              (PROTOCOL=authors 400), SMALL 96
#   BATCH_SIZE         samples in a batch                      default: 2; SMALL: 32
#   CPU                1: without a GPU, in float32            default: 0
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
at_most_one_checkpoint "$@"
source "$here/settings.sh"

checkpoint=${1:-$SAVE_DIR/checkpoint_best.pt}
SUBSET=${SUBSET:-test}
CPU=${CPU:-0}
if ((SMALL)); then
  TOKENS_PER_SAMPLE=${TOKENS_PER_SAMPLE:-128} CONTEXT_WINDOW=${CONTEXT_WINDOW:-96} BATCH_SIZE=${BATCH_SIZE:-32}
elif [[ $MODEL == gpt || $PROTOCOL == authors ]]; then
  TOKENS_PER_SAMPLE=${TOKENS_PER_SAMPLE:-512} CONTEXT_WINDOW=${CONTEXT_WINDOW:-400} BATCH_SIZE=${BATCH_SIZE:-2}
else
  TOKENS_PER_SAMPLE=${TOKENS_PER_SAMPLE:-3072} CONTEXT_WINDOW=${CONTEXT_WINDOW:-2560} BATCH_SIZE=${BATCH_SIZE:-2}
fi
require_choice SUBSET test valid
require_choice CPU 0 1
require_positive TOKENS_PER_SAMPLE BATCH_SIZE
require_number CONTEXT_WINDOW 0
((CONTEXT_WINDOW < TOKENS_PER_SAMPLE)) ||
  die "CONTEXT_WINDOW must be below TOKENS_PER_SAMPLE ($TOKENS_PER_SAMPLE), got '$CONTEXT_WINDOW'"
require_program fairseq-eval-lm
[[ -f $checkpoint ]] || die "no such checkpoint: $checkpoint"
[[ -f $OUT/raw/wiki.$SUBSET.tokens ]] ||
  die "no such file: $OUT/raw/wiki.$SUBSET.tokens: run prepare.sh"
[[ -s $OUT/bin/$SUBSET.bin ]] || die "$OUT/bin holds no $SUBSET set: run prepare.sh"
# its words are counted
[[ ! -f $OUT/text.settings || $(<"$OUT/text.settings") == checksum=$(checksum_of_text "$OUT/raw") ]] ||
  die "the text in $OUT/raw is not what $OUT/bin was made of: put it back, or prepare it with another OUT"

device=()
((!CPU)) || device=(--cpu)
folder=$(dirname "$checkpoint")
SAVE_DIR=$folder same_text "prepare the text that it was trained on again"
name=$SUBSET
[[ $PROTOCOL/$MODEL != authors/adaptive ]] || name+=.authors
log=$folder/eval.$name.log
rm -f "$folder/perplexity.$name.json" # of another measurement
fairseq-eval-lm "$OUT/bin" --user-dir "$root/rdrop_fairseq" --path "$checkpoint" \
  --gen-subset "$SUBSET" --sample-break-mode none --tokens-per-sample "$TOKENS_PER_SAMPLE" \
  --context-window "$CONTEXT_WINDOW" --batch-size "$BATCH_SIZE" --required-batch-size-multiple 1 \
  "${device[@]}" --log-format simple >"$log.tmp" 2>&1 || {
  tail -n 1 "$log.tmp" >&2
  die "fairseq-eval-lm failed: its last line is above, all in $log.tmp"
}
mv "$log.tmp" "$log"
python "$here/word_perplexity.py" --log "$log" --text "$OUT/raw/wiki.$SUBSET.tokens" \
  --json "$folder/perplexity.$name.json" --about "checkpoint=$checkpoint" \
  "tokens_per_sample=$TOKENS_PER_SAMPLE" "context_window=$CONTEXT_WINDOW"
