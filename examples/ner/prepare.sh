#!/usr/bin/env bash
# Prepares sentences with tagged words for train.sh: reads them, encodes them with the encoder's own
# pieces and binarises them. Prints each command; running it again skips what is done.
#
#   bash examples/ner/prepare.sh TASK [--small]
#
#   TASK     conll2003, conll2003-hub or wnut17, which are fetched, or a name for the data in CONLL_DIR
#   --small  for MiniLM (6 layers x 384, uncased), fetched to runs/minilm (84 MB), instead of RoBERTa:
#            fine-tunes on a CPU in minutes
#
# Settings (environment variables):
#   OUT           where to write           default: runs/ner.TASK; --small: runs/ner.TASK.small
#   ROBERTA_PATH  model.pt, beside its dict.txt; needed without --small
#   CONLL_DIR     folder with files in CoNLL's columns, the word first, its tag last: train, valid and
#                 test, also .txt and .gz, or as CoNLL-2003 (eng.train, eng.testa, eng.testb) or WNUT-17
#                 name them. A test set is not needed   default: none
#   TAGS          bio (IOB2), or iob1: CoNLL-2003's original form, which is converted; default: bio
#   GPT2_BPE      folder with GPT-2's encoder.json and vocab.bpe, fetched if it lacks them
#                                          default: runs/gpt2_bpe
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/task.sh"
no_flags
((!${#dry[@]})) || die "--dry-run is train.sh's: what is done here follows from the data"
shopt -s nullglob
TAGS=${TAGS:-bio} CONLL_DIR=${CONLL_DIR:-} GPT2_BPE=${GPT2_BPE:-$root/runs/gpt2_bpe}
require_choice TAGS bio iob1
[[ -n $CONLL_DIR || $TASK =~ ^(conll2003|conll2003-hub|wnut17)$ ]] ||
  die "unknown task $TASK: expected conll2003, conll2003-hub or wnut17, or set CONLL_DIR to the folder of your data"

[[ $ROBERTA_PATH == "$minilm" ]] || need_encoder

if [[ -z $CONLL_DIR ]]; then
  CONLL_DIR=$OUT/fetched
  rdrop run --once --folder "$CONLL_DIR" -- python "$here/fetch.py" "$TASK" --out "$CONLL_DIR"
fi
files=("$CONLL_DIR"/*{train,valid,dev,test}*)
rdrop run --once --folder "$OUT/conll" ${files[@]+--inputs "${files[@]}"} -- \
  python "$here/conll.py" "$CONLL_DIR" --tags "$TAGS" --out "$OUT/conll"

[[ $ROBERTA_PATH != "$minilm" || -f $minilm ]] || rdrop encoder fetch "$encoder"
pieces_of=(--encoder "$encoder")
if [[ ! -f $encoder/tokenizer.json ]]; then
  rdrop corpus gpt2_bpe --bpe-dir "$GPT2_BPE" --download
  pieces_of+=(--bpe-dir "$GPT2_BPE")
fi
rdrop run --once --folder "$OUT/pieces" --inputs "$OUT/conll" "$encoder/dict.txt" -- \
  python "$here/pieces.py" "$OUT/conll" "${pieces_of[@]}" --out "$OUT/pieces"

# binarise FIELD DICTIONARY
binarise() {
  local sets=(--trainpref "$OUT/pieces/train.$1" --validpref "$OUT/pieces/valid.$1")
  [[ ! -f $OUT/pieces/test.$1 ]] || sets+=(--testpref "$OUT/pieces/test.$1")
  rdrop run --once --folder "$OUT/data-bin/$1" --inputs "$OUT/pieces" "$2" -- \
    fairseq-preprocess --only-source --srcdict "$2" "${sets[@]}" \
    --workers 2 --destdir "$OUT/data-bin/$1"
}
binarise input0 "$encoder/dict.txt"
binarise label "$OUT/conll/labels.txt"
