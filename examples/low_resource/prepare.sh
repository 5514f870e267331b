#!/usr/bin/env bash
# Splits a small parallel corpus by document, encodes it with a joint sentencepiece model and
# binarises it for fairseq. Running it again skips what is done.
#
#   RAW_DIR=~/debian-en-de bash examples/low_resource/prepare.sh
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
#   VOCAB       size of the joint sentencepiece vocabulary  default: 2000
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
RAW_DIR=${RAW_DIR:-}
OUT=${OUT:-$root/runs/low_resource}
SRC=${SRC:-en} TGT=${TGT:-de}
TRAIN_SIZE=${TRAIN_SIZE:-6000} VALID_SIZE=${VALID_SIZE:-800} TEST_SIZE=${TEST_SIZE:-1000}
VOCAB=${VOCAB:-2000}

no_arguments "$@"
require_positive TRAIN_SIZE VALID_SIZE TEST_SIZE VOCAB
[[ -n $RAW_DIR ]] || die "set RAW_DIR to the folder that holds sent.$SRC.gz and sent.$TGT.gz; see --help"
[[ -d $RAW_DIR ]] || die "no such folder: RAW_DIR=$RAW_DIR"
require_program fairseq-preprocess
keep_settings_of "$OUT/prepare.settings" "RAW_DIR=$RAW_DIR SRC=$SRC TGT=$TGT TRAIN_SIZE=$TRAIN_SIZE VALID_SIZE=$VALID_SIZE TEST_SIZE=$TEST_SIZE VOCAB=$VOCAB checksum=$(checksum "$RAW_DIR"/sent.*.gz 2>/dev/null)" \
  "set OUT to another folder, or remove $OUT" "$OUT"/{corpus,text,bin}

[[ -d $OUT/corpus ]] || python "$root/examples/low_resource/split_corpus.py" --raw "$RAW_DIR" \
  --languages "$SRC" "$TGT" --out "$OUT/corpus" \
  --train "$TRAIN_SIZE" --valid "$VALID_SIZE" --test "$TEST_SIZE"
[[ -d $OUT/text ]] || python "$root/scripts/corpus/encode_corpus.py" --corpus "$OUT/corpus" \
  --languages "$SRC" "$TGT" --vocab-size "$VOCAB" --out "$OUT/text"
# one worker: at Ctrl-C, more of them can leave fairseq-preprocess waiting for ever
[[ -d $OUT/bin ]] || preprocess "$OUT/bin" "$OUT/preprocess.log" -s "$SRC" -t "$TGT" \
  --joined-dictionary --workers 1 --trainpref "$OUT/text/train.pieces" \
  --validpref "$OUT/text/valid.pieces" --testpref "$OUT/text/test.pieces"
echo "prepared: $OUT/bin"
