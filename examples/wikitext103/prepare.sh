#!/usr/bin/env bash
# Prepares WikiText-103 for fairseq's language models: gets the text and binarises it, word
# by word. Running it again skips what is complete.
#
#   bash examples/wikitext103/prepare.sh
#
# Settings (environment variables):
#   RAW_DIR  folder of wiki.{train,valid,test}.tokens   default: the data set from Hugging Face
#   WORKERS  processes                                  default: one a core
#   OUT      where to write                             default: runs/wikitext103
#   SMALL    1: for a small model on RAW_DIR, any plain text: it is parted into 2,000 pieces
#            learnt from it; OUT is runs/austen_small   default: 0
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
no_arguments "$@"
source "$here/settings.sh"

RAW_DIR=${RAW_DIR:-}
WORKERS=${WORKERS:-$(nproc)}
require_positive WORKERS
require_program fairseq-preprocess
if ((SMALL)) && [[ -z $RAW_DIR ]]; then
  die "SMALL=1 needs RAW_DIR; austen_novels.py can make one"
fi
for split in ${RAW_DIR:+train valid test}; do
  [[ -s $RAW_DIR/wiki.$split.tokens ]] ||
    die "RAW_DIR ($RAW_DIR) lacks wiki.$split.tokens, or it is empty"
done
corpus=${RAW_DIR:-$OUT/raw}
keep_settings_of "$OUT/prepare.settings" "SMALL=$SMALL RAW_DIR=$RAW_DIR" \
  "set OUT to another folder, or remove $OUT" "$OUT"/{raw,gpt2_bpe,bin}
if ! [[ -n $RAW_DIR || -d $corpus ]]; then
  python "$here/export_dataset.py" --out "$corpus"
fi
# evaluate.sh counts the words of the text
keep_settings_of "$OUT/text.settings" "checksum=$(checksum_of_text "$corpus")" \
  "set OUT to another folder, or remove $OUT" "$OUT"/{gpt2_bpe,bin}
link "$corpus" "$OUT/raw" # for evaluate.sh

text=$corpus
if ((SMALL)) && ! [[ -d $OUT/bin ]]; then
  text=$OUT/pieces
  [[ -d $OUT/gpt2_bpe ]] ||
    python "$root/scripts/corpus/learn_bpe.py" --size 2000 --out "$OUT/gpt2_bpe" "$corpus/wiki.train.tokens"
  mkdir -p "$text"
  files=()
  for split in train valid test; do
    files+=("$corpus/wiki.$split.tokens" "$text/wiki.$split.tokens")
  done
  python "$root/scripts/corpus/gpt2_bpe.py" --bpe-dir "$OUT/gpt2_bpe" --workers "$WORKERS" "${files[@]}"
fi
[[ -d $OUT/bin ]] || preprocess "$OUT/bin" "$OUT/preprocess.log" --only-source \
  --workers "$WORKERS" --trainpref "$text/wiki.train.tokens" \
  --validpref "$text/wiki.valid.tokens" --testpref "$text/wiki.test.tokens"
echo "ready to train on: $OUT/bin"
