#!/usr/bin/env bash
# Prepares CNN/DailyMail or XSum for BART: gets the text, encodes it with GPT-2's byte-pair encoding,
# cuts what is longer than BART's positions, and binarises it with BART's dictionary. Running it again
# skips what is made, and refuses what was made with other settings or text.
#
#   bash examples/cnn_dm/prepare.sh [--small] [--dry-run]
#
#   --small    for a small model, trained from scratch on RAW_DIR: 4,000 pieces and the dictionary are
#              learnt from the text
#   --dry-run  print the commands
#
# Settings (environment variables):
#   DATASET   cnn_dm or xsum                                default: cnn_dm
#   RAW_DIR   folder of {train,val,test}.{source,target}, a text a line
#                                                           default: the data set from Hugging Face
#   BART_DIR  folder of the unpacked bart.large.tar.gz; its dict.txt is used
#   LONGEST   document or summary, in tokens                default: 1024; --small: 64, at most 256
#   WORKERS   processes                                     default: one a core
#   OUT       where to write                                default: runs/DATASET; --small: runs/summaries_small
#
# OUT/gpt2_bpe gets GPT-2's encoder.json and vocab.bpe, downloaded unless they are there.
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/dataset.sh"
no_flags
WORKERS=${WORKERS:-$(nproc)}
corpus=${RAW_DIR:-$OUT/raw} bart=''
once() { rdrop run --once ${dry[@]+"${dry[@]}"} "$@"; } # as it is called with --folder, --inputs

if ((${#small[@]})); then
  [[ -n ${RAW_DIR:-} ]] || die "--small needs RAW_DIR; package_descriptions.py can make one"
  encoding=(--learn 4000 --longest "${LONGEST:-64}" --positions 256)
  dictionary=(--joined-dictionary)
else
  [[ -n ${BART_DIR:-} ]] || ((${#dry[@]})) || die "BART_DIR is not set: unpack" \
    "https://dl.fbaipublicfiles.com/fairseq/models/bart.large.tar.gz and name its folder"
  bart=${BART_DIR:-bart.large}
  if [[ -z ${RAW_DIR:-} ]]; then
    once --folder "$corpus" -- python "$here/export_dataset.py" --dataset "$DATASET" --out "$corpus"
  fi
  ((${#dry[@]})) || rdrop corpus gpt2_bpe --bpe-dir "$OUT/gpt2_bpe" --download --published
  encoding=(--bpe-dir "$OUT/gpt2_bpe" --dictionary "$bart/dict.txt" --longest "${LONGEST:-1024}")
  dictionary=(--srcdict "$bart/dict.txt" --tgtdict "$bart/dict.txt")
fi
once --folder "$OUT/pieces" --inputs "$corpus" ${bart:+"$bart/dict.txt"} -- \
  python "$here/encode_pairs.py" --corpus "$corpus" "${encoding[@]}" \
  --workers "$WORKERS" --out "$OUT/pieces"
once --folder "$OUT/bin" --inputs "$OUT/pieces" ${bart:+"$bart/dict.txt"} -- \
  fairseq-preprocess --source-lang source --target-lang target "${dictionary[@]}" \
  --trainpref "$OUT/pieces/train" --validpref "$OUT/pieces/val" --testpref "$OUT/pieces/test" \
  --workers "$WORKERS" --destdir "$OUT/bin"
echo "ready to train on: $OUT/bin"
