#!/usr/bin/env bash
# Splits a small parallel corpus by document, encodes it with a joint sentencepiece model and
# binarises it for fairseq. Running it again skips what is done.
#
#   RAW_DIR=~/debian-en-de bash examples/low_resource/prepare.sh [--dry-run]
#
#   --dry-run  print the commands
#
# RAW_DIR holds sent.$SRC.gz and sent.$TGT.gz, one sentence a line, and, if the lines belong to
# documents, sent.pkg.gz with the document's name on each line. Any parallel text will do.
#
# Settings (environment variables):
#   RAW_DIR     folder of the parallel lines                default: none, must be given
#   OUT         where to write                              default: runs/low_resource
#   SRC, TGT    languages                                   default: en, de
#   TRAIN_SIZE  sentence pairs of the training set          default: 6000
#   VALID_SIZE  of the validation set, at most              default: 800
#   TEST_SIZE   of the test set, at most                    default: 1000
#   VOCAB_SIZE  of the joint sentencepiece vocabulary       default: 2000
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
OUT=${OUT:-$root/runs/low_resource} SRC=${SRC:-en} TGT=${TGT:-de}
no_flags
[[ -n ${RAW_DIR:-} ]] || die "set RAW_DIR to the folder that holds sent.$SRC.gz and sent.$TGT.gz; see --help"
raw=("$RAW_DIR/sent.$SRC.gz" "$RAW_DIR/sent.$TGT.gz")
[[ ! -f $RAW_DIR/sent.pkg.gz ]] || raw+=("$RAW_DIR/sent.pkg.gz")

rdrop run --once --folder "$OUT/corpus" --inputs "${raw[@]}" ${dry[@]+"${dry[@]}"} -- \
  python "$here/split_corpus.py" --raw "$RAW_DIR" --languages "$SRC" "$TGT" \
  --train "${TRAIN_SIZE:-6000}" --valid "${VALID_SIZE:-800}" --test "${TEST_SIZE:-1000}" \
  --out "$OUT/corpus"
rdrop run --once --folder "$OUT/pieces" --inputs "$OUT/corpus" ${dry[@]+"${dry[@]}"} -- \
  rdrop corpus encode --corpus "$OUT/corpus" --languages "$SRC" "$TGT" \
  --vocab-size "${VOCAB_SIZE:-2000}" --out "$OUT/pieces"
# one worker: at Ctrl-C, more of them can leave fairseq-preprocess waiting for ever
rdrop run --once --folder "$OUT/data-bin" --inputs "$OUT/pieces" ${dry[@]+"${dry[@]}"} -- \
  fairseq-preprocess -s "$SRC" -t "$TGT" --joined-dictionary --workers 1 \
  --trainpref "$OUT/pieces/train.pieces" --validpref "$OUT/pieces/valid.pieces" \
  --testpref "$OUT/pieces/test.pieces" --destdir "$OUT/data-bin"
