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

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$root/scripts/recipe/prepare_parallel.sh"
source "$here/settings.sh"

ratio=1.5 coverage=1.0 vocabulary=10000
[[ $SMALL != 1 ]] || vocabulary=500
if [[ $pair == *zh* ]]; then
  ratio=3 coverage=0.9995 # a character counts as a word; rare ones are left out
  [[ $SMALL != 1 ]] || vocabulary=1500
fi
MAX_WORDS=${MAX_WORDS:-175} MAX_RATIO=${MAX_RATIO:-$ratio} VOCAB_SIZE=${VOCAB_SIZE:-$vocabulary}
[[ $BPE != moses || $pair != *zh* ]] ||
  die "BPE=moses cannot split Chinese into words: use BPE=sentencepiece for $pair"
begin_preparation "pair=$pair"

list_archives
fetch_and_extract "$RAW_DIR"
clean_training_text --max-words "$MAX_WORDS" --max-ratio "$MAX_RATIO" \
  --hold-out 23 --held-out "$OUT/clean/valid"
stage "test" "$OUT/clean/test.$target" copy_split test
options=(--character-coverage "$coverage")
[[ $BPE != moses ]] || options=(--lowercase)
encode_and_binarise "${options[@]}"
end_preparation "$RAW_DIR/${archives[0]}"
