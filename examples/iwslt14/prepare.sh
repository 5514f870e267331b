#!/usr/bin/env bash
# IWSLT14 (TED talks), German or Spanish to or from English, or IWSLT17, French or Chinese, from
# WIT3's archive to fairseq's binary data: takes out the text, cleans it, makes joint subwords, binarises, and
# writes a manifest with the checksum of every file. Running it again skips what is done.
#
#   bash examples/iwslt14/prepare.sh SOURCE-TARGET [--small] [--dry-run]
#
#   SOURCE-TARGET  de-en, en-de, fr-en, en-fr, zh-en, en-zh, es-en or en-es
#   --small        few subwords, for a trial
#   --dry-run      print the commands
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
#   ARCHIVES  table of archives, checksums, addresses   default: examples/iwslt14/archives.tsv
#   BPE       sentencepiece, or moses: Moses' tokenisation and subword-nmt, as the papers have it,
#             of German lower-cased text, else of normalised punctuation; not for zh
#                                                       default: sentencepiece
#   VOCAB_SIZE  pieces or merges                        default: 10000; --small: 500, zh 1500
#   WORKERS   processes                                 default: number of CPUs
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/pair.sh"
no_flags
BPE=${BPE:-sentencepiece} WORKERS=${WORKERS:-$(nproc)} ARCHIVES=${ARCHIVES:-$here/archives.tsv}
require_choice BPE sentencepiece moses
[[ $BPE != moses || $pair != *zh* ]] ||
  die "BPE=moses cannot split Chinese into words: use BPE=sentencepiece for $pair"

offline=()
[[ -z ${RAW_DIR:-} ]] || offline=(--offline)
RAW_DIR=${RAW_DIR:-$OUT/raw}
vocabulary=10000
((!${#small[@]})) || vocabulary=500
lengths=(--max-words 175 --max-ratio 1.5) valid=$OUT/corpora/valid pieces=(--bpe "$BPE")
[[ $BPE != moses ]] || pieces+=(--normalise)
case $pair in
  *de*)
    valid=$OUT/clean/valid
    lengths+=(--hold-out 23 --held-out "$valid")
    [[ $BPE != moses ]] || pieces+=(--lowercase)
    ;;
  *zh*) # a character counts as a word; rare ones are left out
    lengths=(--max-words 175 --max-ratio 3) pieces+=(--character-coverage 0.9995)
    ((!${#small[@]})) || vocabulary=1500
    ;;
esac

rdrop run --once --folder "$OUT/corpora" --inputs "$ARCHIVES" ${dry[@]+"${dry[@]}"} -- \
  rdrop corpus fetch --table "$ARCHIVES" --languages "$source" "$target" \
  --raw "$RAW_DIR" ${offline[@]+"${offline[@]}"} --out "$OUT/corpora"
rdrop run --once --folder "$OUT/clean" --inputs "$OUT/corpora" ${dry[@]+"${dry[@]}"} -- \
  rdrop corpus clean --languages "$source" "$target" "${lengths[@]}" --workers "$WORKERS" \
  --out "$OUT/clean/train" "$OUT/corpora/train"
rdrop run --once --folder "$OUT/pieces" --inputs "$OUT/corpora" "$OUT/clean" ${dry[@]+"${dry[@]}"} -- \
  rdrop corpus encode --languages "$source" "$target" "${pieces[@]}" \
  --vocab-size "${VOCAB_SIZE:-$vocabulary}" --workers "$WORKERS" \
  --train "$OUT/clean/train" --valid "$valid" --test "$OUT/corpora/test" --out "$OUT/pieces"
rdrop run --once --folder "$OUT/data-bin" --inputs "$OUT/pieces" ${dry[@]+"${dry[@]}"} -- \
  fairseq-preprocess -s "$source" -t "$target" --joined-dictionary --workers "$WORKERS" \
  --trainpref "$OUT/pieces/train.pieces" --validpref "$OUT/pieces/valid.pieces" \
  --testpref "$OUT/pieces/test.pieces" --destdir "$OUT/data-bin"
start rdrop corpus manifest --out "$OUT/manifest.json" --note "pair=$pair" --note "bpe=$BPE" \
  "$OUT/corpora" "$OUT/clean" "$OUT/pieces" "$OUT/data-bin"
