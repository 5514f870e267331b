#!/usr/bin/env bash
# IWSLT14 (TED talks), German or Spanish to or from English, or IWSLT17, French or Chinese, from
# WIT3's archive to fairseq's binary data: takes out the text, cleans it, makes joint subwords, binarises, and
# writes a manifest with the checksum of every file. Running it again skips what is done.
#
#   bash examples/iwslt14/prepare.sh SOURCE-TARGET
#
#   SOURCE-TARGET  de-en, en-de, fr-en, en-fr, zh-en, en-zh, es-en or en-es
#
# The sets are those of the papers, see the README: German, as in fairseq's recipe, every 23rd
# sentence of the training data for validation, all test sets of the archive together for the test;
# Spanish tst2010 to 2012, and tst2014; French and Chinese tst2013 to 2015, and tst2017, which
# sacrebleu has (iwslt17): it downloads that even if RAW_DIR is set, to its own cache, $SACREBLEU.
#
# Settings (environment variables):
#   OUT       where to write                            default: runs/iwslt14.PAIR
#   RAW_DIR   folder that holds the pair's archives; then they are not downloaded. Those of
#             Spanish cannot be: see the README         default: OUT/raw
#   ARCHIVES  table of archives, checksums, addresses   default: RAW_DIR/archives.tsv if it is
#             there, else examples/iwslt14/archives.tsv
#   BPE       sentencepiece, or moses: Moses' tokenisation and subword-nmt, as the papers have it,
#             of German lower-cased text, else of normalised punctuation; not for zh
#                                                       default: sentencepiece
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
held_out=()
[[ $pair != *de* ]] || held_out=(--hold-out 23 --held-out "$OUT/clean/valid")
clean_training_text --max-words "$MAX_WORDS" --max-ratio "$MAX_RATIO" ${held_out[@]+"${held_out[@]}"}
((${#held_out[@]})) || stage "valid" "$OUT/clean/valid.$target" copy_split valid
stage "test" "$OUT/clean/test.$target" copy_split test
options=(--character-coverage "$coverage")
if [[ $BPE == moses ]]; then
  options=(--normalise)
  [[ $pair != *de* ]] || options=(--lowercase)
fi
encode_and_binarise "${options[@]}"
end_preparation "${archives[@]/#/$RAW_DIR/}"
