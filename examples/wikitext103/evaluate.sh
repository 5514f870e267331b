#!/usr/bin/env bash
# Perplexity of a trained language model on the test set, by fairseq-eval-lm.
#
#   bash examples/wikitext103/evaluate.sh [CHECKPOINT] [--small] [--dry-run] [FLAG...]
#
#   CHECKPOINT  default: OUT/RUN/checkpoint_best.pt
#   --small     of the small model, whose tokens are pieces of words
#   --dry-run   print the command
#   FLAG        of fairseq-eval-lm, in place of what stands below, such as --context-window 0
#
# Writes run.log and scores.json to DIR.
#
# Settings (environment variables):
#   MODEL, OUT, CRITERION, SEED, RUN   as given to train.sh
#   SUBSET  test or valid                              default: test
#   DIR     where to write                             default: SUBSET/ beside the checkpoint
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/model.sh"
SUBSET=${SUBSET:-test}
require_choice SUBSET test valid
((${#names[@]} < 2)) || die "expected at most one CHECKPOINT, got ${#names[@]}"
checkpoint=${names[0]:-$OUT/$RUN/checkpoint_best.pt}
DIR=${DIR:-$(dirname "$checkpoint")/$SUBSET}

# context only, of the tokens that the model sees at once
if ((${#small[@]})); then
  window=(--context-window 96 --tokens-per-sample 128 --batch-size 32)
elif [[ $MODEL == gpt ]]; then
  window=(--context-window 400 --tokens-per-sample 512 --batch-size 2 --fp16)
else
  window=(--context-window 2560 --tokens-per-sample 3072 --batch-size 2 --fp16)
fi
if ((!${#dry[@]})); then
  [[ -f $checkpoint ]] || die "no such checkpoint: $checkpoint"
  dictionary=$(dirname "$checkpoint")/dict.txt
  [[ ! -f $dictionary ]] || cmp -s "$dictionary" "$OUT/bin/dict.txt" ||
    die "$OUT/bin has another dictionary than $dictionary, of the training: prepare the same text again"
fi

rdrop run --folder "$DIR" --inputs "$checkpoint" "$OUT/bin"/{dict,"$SUBSET"}.* ${dry[@]+"${dry[@]}"} -- \
  fairseq-eval-lm "$OUT/bin" --user-dir "$root/rdrop_fairseq" --path "$checkpoint" \
  --gen-subset "$SUBSET" --sample-break-mode none "${window[@]}" \
  --required-batch-size-multiple 1 --log-format simple \
  ${flags[@]+"${flags[@]}"}
((!${#dry[@]})) || exit 0

pieces=()
((!${#small[@]})) || pieces=(--pieces "$OUT/pieces/wiki.$SUBSET.tokens" --bpe-dir "$OUT/gpt2_bpe")
python "$here/word_perplexity.py" --log "$DIR/run.log" ${pieces[@]+"${pieces[@]}"} \
  --json "$DIR/scores.json"
