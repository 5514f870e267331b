#!/usr/bin/env bash
# WMT14 English-German or English-French, from the archives of statmt.org to fairseq's binary
# data: downloads, takes out the text, cleans it, makes joint subwords, binarises, and writes a
# manifest with the checksum of every file. Running it again skips what is done.
#
#   bash examples/wmt14/prepare.sh en-de|en-fr [--small] [--dry-run]
#
#   --small    few subwords, for a trial
#   --dry-run  print the commands
#
# Training data: Europarl v7, Common Crawl, News Commentary v9; for en-fr also UN and 10^9.
# Validation: newstest2013. Test: newstest2014, all 3003 lines ("wmt14/full" in sacrebleu;
# its "wmt14" has 2737 of them).
#
# Settings (environment variables):
#   OUT       where to write                            default: runs/wmt14.PAIR
#   RAW_DIR   folder that holds the archives; then nothing is downloaded
#                                                       default: download to OUT/raw
#   ARCHIVES  table of archives, checksums, addresses   default: examples/wmt14/archives.tsv
#   CORPORA   training data: names of the table         default: all of the above
#   BPE       sentencepiece, or moses: Moses' tokenisation and subword-nmt, to reproduce
#             tokenised numbers                         default: sentencepiece
#   VOCAB_SIZE  pieces or merges    default: 32000; en-fr with BPE=moses: 40000; --small: 500
#   SAMPLE    most sentences, of both sides together, that sentencepiece learns on, which takes some
#             3 kB of memory for each                   default: 2000000
#   WORKERS   processes                                 default: number of CPUs
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/pair.sh"
no_flags
BPE=${BPE:-sentencepiece} WORKERS=${WORKERS:-$(nproc)} ARCHIVES=${ARCHIVES:-$here/archives.tsv}
require_choice BPE sentencepiece moses

offline=()
[[ -z ${RAW_DIR:-} ]] || offline=(--offline)
RAW_DIR=${RAW_DIR:-$OUT/raw}
corpora="europarl-v7 commoncrawl news-commentary-v9"
[[ $pair != en-fr ]] || corpora="europarl-v7 commoncrawl un news-commentary-v9 giga-fren"
read -ra corpora <<<"${CORPORA:-$corpora}"
pieces=(--bpe sentencepiece --sample "${SAMPLE:-2000000}") vocabulary=32000
if [[ $BPE == moses ]]; then
  pieces=(--bpe moses --normalise)
  [[ $pair != en-fr ]] || vocabulary=40000
fi
((!${#small[@]})) || vocabulary=500

rdrop run --once --folder "$OUT/corpora" --inputs "$ARCHIVES" ${dry[@]+"${dry[@]}"} -- \
  rdrop corpus fetch --table "$ARCHIVES" --languages "$source" "$target" \
  --raw "$RAW_DIR" ${offline[@]+"${offline[@]}"} --out "$OUT/corpora" \
  "${corpora[@]}" newstest2013 newstest2014
rdrop run --once --folder "$OUT/clean" --inputs "$OUT/corpora" ${dry[@]+"${dry[@]}"} -- \
  rdrop corpus clean --languages "$source" "$target" --max-words 250 --max-ratio 2 \
  --workers "$WORKERS" --out "$OUT/clean/train" "${corpora[@]/#/$OUT/corpora/}"
rdrop run --once --folder "$OUT/pieces" --inputs "$OUT/corpora" "$OUT/clean" ${dry[@]+"${dry[@]}"} -- \
  rdrop corpus encode --languages "$source" "$target" "${pieces[@]}" \
  --vocab-size "${VOCAB_SIZE:-$vocabulary}" --workers "$WORKERS" --train "$OUT/clean/train" \
  --valid "$OUT/corpora/newstest2013" --test "$OUT/corpora/newstest2014" --out "$OUT/pieces"
rdrop run --once --folder "$OUT/data-bin" --inputs "$OUT/pieces" ${dry[@]+"${dry[@]}"} -- \
  fairseq-preprocess -s "$source" -t "$target" --joined-dictionary --workers "$WORKERS" \
  --trainpref "$OUT/pieces/train.pieces" --validpref "$OUT/pieces/valid.pieces" \
  --testpref "$OUT/pieces/test.pieces" --destdir "$OUT/data-bin"
start rdrop corpus manifest --out "$OUT/manifest.json" --note "pair=$pair" --note "bpe=$BPE" \
  "$OUT/corpora" "$OUT/clean" "$OUT/pieces" "$OUT/data-bin"
