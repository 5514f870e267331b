#!/usr/bin/env bash
# Prepares WikiText-103 for fairseq's language models: gets the text and binarises it, word by word.
# Running it again skips what is made, and refuses what was made of other text.
#
#   bash examples/wikitext103/prepare.sh [--small] [--dry-run]
#
#   --small    for a small model on RAW_DIR, any plain text: it is parted into 2,000 pieces learnt from it
#   --dry-run  print the commands
#
# Settings (environment variables):
#   RAW_DIR  folder of wiki.{train,valid,test}.tokens   default: the data set from Hugging Face
#   WORKERS  processes                                  default: one a core
#   OUT      where to write                             default: runs/wikitext103; --small: runs/austen_small
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/model.sh"
no_flags
WORKERS=${WORKERS:-$(nproc)}
text=${RAW_DIR:-$OUT/raw}
once() { rdrop run --once ${dry[@]+"${dry[@]}"} "$@"; } # as it is called with --folder, --inputs

for split in ${RAW_DIR:+train valid test}; do
  [[ -s $RAW_DIR/wiki.$split.tokens ]] ||
    die "RAW_DIR ($RAW_DIR) lacks wiki.$split.tokens, or it is empty"
done
if ((${#small[@]})); then
  [[ -n ${RAW_DIR:-} ]] || die "--small needs RAW_DIR; austen_novels.py can make one"
  once --folder "$OUT/gpt2_bpe" --inputs "$text" -- \
    rdrop corpus learn_bpe --size 2000 --out "$OUT/gpt2_bpe" "$text/wiki.train.tokens"
  files=()
  for split in train valid test; do
    files+=("$text/wiki.$split.tokens" "$OUT/pieces/wiki.$split.tokens")
  done
  once --folder "$OUT/pieces" --inputs "$OUT/gpt2_bpe" "$text" -- \
    rdrop corpus gpt2_bpe --bpe-dir "$OUT/gpt2_bpe" --workers "$WORKERS" "${files[@]}"
  text=$OUT/pieces
elif [[ -z ${RAW_DIR:-} ]]; then
  once --folder "$text" -- python "$here/export_dataset.py" --out "$text"
fi
once --folder "$OUT/bin" --inputs "$text" -- \
  fairseq-preprocess --only-source --trainpref "$text/wiki.train.tokens" \
  --validpref "$text/wiki.valid.tokens" --testpref "$text/wiki.test.tokens" \
  --workers "$WORKERS" --destdir "$OUT/bin"
echo "ready to train on: $OUT/bin"
