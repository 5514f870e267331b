#!/usr/bin/env bash
# IWSLT14 (TED talks), German, French, Chinese or Spanish to or from English, from WIT3's archive
# to fairseq's binary data: takes out the text, cleans it, makes joint subwords, binarises, and
# writes a manifest with the checksum of every file. Running it again skips what is done.
#
#   bash examples/iwslt14/prepare.sh SOURCE-TARGET
#
#   SOURCE-TARGET  de-en, en-de, fr-en, en-fr, zh-en, en-zh, es-en or en-es
#
# As in fairseq's recipe, every 23rd sentence of the training data is for validation, and all
# test sets of the archive (IWSLT14.TED*.xml) together are the test set.
#
# Settings (environment variables):
#   OUT       where to write                            default: runs/iwslt14.PAIR
#   RAW_DIR   folder that holds de-en.tgz (fr-en.tgz, ...); then nothing is downloaded. Only
#             de-en.tgz can be downloaded: see the README for the others   default: OUT/raw
#   ARCHIVES  table of archives, checksums, addresses   default: RAW_DIR/archives.tsv if it is
#             there, else examples/iwslt14/archives.tsv
#   BPE       sentencepiece, or moses: lower-cased text, Moses' tokenisation and subword-nmt, to
#             reproduce tokenised numbers; not for zh   default: sentencepiece
#   VOCAB_SIZE  pieces or merges                        default: 10000; SMALL=1: 500, zh 1500
#   MAX_WORDS, MAX_RATIO  longest sentence, largest ratio of the lengths   default: 175, 1.5; zh 3
#   WORKERS   processes                                 default: number of CPUs
#   SMALL     1: few subwords, for a trial              default: 0
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
recipe=iwslt14/prepare
source "$root/scripts/recipe/stages.sh"
source "$root/scripts/recipe/prepare_parallel.sh"

[[ ${1:-} != -h && ${1:-} != --help ]] || { usage && exit 0; }
(($# == 1)) || die "expected a language pair such as de-en, got $# arguments; see --help"
pair=$1
[[ $pair =~ ^((de|fr|zh|es)-en|en-(de|fr|zh|es))$ ]] ||
  die "unknown pair $pair: IWSLT14 is de, fr, zh or es to or from en here, such as de-en"
source=${pair%-*} target=${pair#*-}

SMALL=${SMALL:-0} BPE=${BPE:-sentencepiece}
OUT=${OUT:-$root/runs/iwslt14.$pair} WORKERS=${WORKERS:-$(nproc)}
ratio=1.5 coverage=1.0 vocabulary=10000
[[ $SMALL != 1 ]] || vocabulary=500
if [[ $pair == *zh* ]]; then
  ratio=3 coverage=0.9995 # a character counts as a word; rare ones are left out
  [[ $SMALL != 1 ]] || vocabulary=1500
fi
MAX_WORDS=${MAX_WORDS:-175} MAX_RATIO=${MAX_RATIO:-$ratio} VOCAB_SIZE=${VOCAB_SIZE:-$vocabulary}
DOWNLOAD=1
[[ -z ${RAW_DIR:-} ]] || DOWNLOAD=0
RAW_DIR=${RAW_DIR:-$OUT/raw}
ARCHIVES=${ARCHIVES:-$([[ -f $RAW_DIR/archives.tsv ]] && echo "$RAW_DIR" || echo "$root/examples/iwslt14")/archives.tsv}

[[ $SMALL == [01] ]] || die "SMALL must be 0 or 1, got '$SMALL'"
[[ $BPE == sentencepiece || $BPE == moses ]] || die "BPE must be sentencepiece or moses, got '$BPE'"
[[ $BPE != moses || $pair != *zh* ]] ||
  die "BPE=moses cannot split Chinese into words: use BPE=sentencepiece for $pair"
[[ $DOWNLOAD == 1 || -d $RAW_DIR ]] || die "no such folder: RAW_DIR=$RAW_DIR"
require_number VOCAB_SIZE 1
require_number MAX_WORDS 1
require_number WORKERS 1
require_program python fairseq-preprocess

corpus="pair=$pair" cleaning="max_words=$MAX_WORDS max_ratio=$MAX_RATIO"
subwords="bpe=$BPE vocab_size=$VOCAB_SIZE"
keep_corpora_settings "$corpus"
keep_stage_settings clean "$OUT/clean/train.clean.json" "$cleaning"
keep_stage_settings pieces "$OUT/pieces" "$subwords"
mkdir -p "$OUT/corpora" "$OUT/clean"
list_archives
fetch_and_extract "$RAW_DIR"

mapfile -t training < <(corpora_of train)
stage "clean" "$OUT/clean/train.clean.json" python "$root/scripts/corpus/clean_corpus.py" \
  --languages "$source" "$target" --out "$OUT/clean/train" --hold-out 23 \
  --held-out "$OUT/clean/valid" --max-words "$MAX_WORDS" --max-ratio "$MAX_RATIO" \
  --workers "$WORKERS" "${training[@]}"
stage "test" "$OUT/clean/test.$target" copy_split test
options=(--character-coverage "$coverage")
[[ $BPE != moses ]] || options=(--lowercase)
stage "subwords" "$OUT/pieces" python "$root/scripts/corpus/encode_corpus.py" --corpus "$OUT/clean" \
  --languages "$source" "$target" --bpe "$BPE" --vocab-size "$VOCAB_SIZE" "${options[@]}" \
  --workers "$WORKERS" --out "$OUT/pieces"
stage "binarise" "$OUT/data-bin" binarise
stage "manifest" "$OUT/manifest.json" write_manifest "$corpus $cleaning $subwords" "$RAW_DIR/${archives[0]}"
echo "data: $OUT/data-bin; what it was made of: $OUT/manifest.json"
