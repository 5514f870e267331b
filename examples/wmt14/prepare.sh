#!/usr/bin/env bash
# WMT14 English-German or English-French, from the archives of statmt.org to fairseq's binary
# data: downloads, takes out the text, cleans it, makes joint subwords, binarises, and writes a
# manifest with the checksum of every file. Running it again skips what is done.
#
#   bash examples/wmt14/prepare.sh en-de|en-fr
#
# Training data: Europarl v7, Common Crawl, News Commentary v9; for en-fr also UN and 10^9.
# Validation: newstest2013. Test: newstest2014, all 3003 lines ("wmt14/full" in sacrebleu;
# its "wmt14" has 2737 of them).
#
# Settings (environment variables):
#   OUT       where to write                            default: runs/wmt14.PAIR
#   RAW_DIR   folder that holds the archives; then nothing is downloaded
#                                                       default: download to OUT/raw
#   ARCHIVES  table of archives, checksums, addresses   default: RAW_DIR/archives.tsv if it is
#             there, else examples/wmt14/archives.tsv
#   SOURCE    archives, or mtdata: the training data by mtdata's identifiers (not quite the same:
#             see the README), valid and test from sacrebleu's data sets   default: archives
#   MTDATA_IDS  mtdata's identifiers                    default: those of the README
#   BPE       sentencepiece, or moses: Moses' tokenisation and subword-nmt, to reproduce
#             tokenised numbers                         default: sentencepiece
#   VOCAB_SIZE  pieces or merges    default: 32000; en-fr with BPE=moses: 40000; SMALL=1: 500
#   SAMPLE    most sentences, of both sides together, that sentencepiece learns on, which takes some
#             3 kB of memory for each                   default: 2000000
#   MAX_WORDS, MAX_RATIO  longest sentence, largest ratio of the lengths   default: 250, 2
#   WORKERS   processes                                 default: number of CPUs
#   SMALL     1: 500 subwords, for a trial              default: 0
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$root/scripts/recipe/prepare_parallel.sh"
source "$here/settings.sh"

SOURCE=${SOURCE:-archives}
MAX_WORDS=${MAX_WORDS:-250} MAX_RATIO=${MAX_RATIO:-2}
vocabulary=32000
[[ $pair != en-fr || $BPE != moses ]] || vocabulary=40000
[[ $SMALL != 1 ]] || vocabulary=500
VOCAB_SIZE=${VOCAB_SIZE:-$vocabulary} SAMPLE=${SAMPLE:-2000000}
require_positive SAMPLE
other_ids=(OPUS-news_commentary-v9.0-deu-eng)
[[ $pair == en-de ]] ||
  other_ids=(OPUS-news_commentary-v9.0-eng-fra OPUS-multiun-v1-eng-fra OPUS-giga_fren-v2-eng-fra)
declare -A mtdata_code=([en]=eng [de]=deu [fr]=fra)
code=${mtdata_code[$target]}
MTDATA_IDS=${MTDATA_IDS:-"Statmt-europarl_wmt13-7-$code-eng Statmt-commoncrawl_wmt13-1-$code-eng ${other_ids[*]}"}
require_choice SOURCE archives mtdata
corpus="pair=$pair source=$SOURCE"
[[ $SOURCE == archives ]] || corpus+=" mtdata=${MTDATA_IDS// /,}"
begin_preparation "$corpus" " sample=$SAMPLE"

# training text by mtdata
get_mtdata() {
  rm -rf "$OUT/mtdata.tmp"
  # it merges in the order of a set, which would differ from run to run
  # shellcheck disable=SC2086  # several identifiers
  PYTHONHASHSEED=0 mtdata get -l "eng-$code" -tr $MTDATA_IDS --merge -o "$OUT/mtdata.tmp" ||
    die "mtdata failed; running this again goes on from its cache (\$MTDATA, default ~/.mtdata)"
  mv "$OUT/mtdata.tmp/train.eng" "$OUT/corpora/mtdata.en"
  mv "$OUT/mtdata.tmp/train.$code" "$OUT/corpora/mtdata.$target"
  rm -rf "$OUT/mtdata.tmp"
}

raw=()
if [[ $SOURCE == mtdata ]]; then
  require_program mtdata
  splits=(train valid test) corpora=(mtdata newstest2013 newstest2014)
  stage "training data by mtdata" "$OUT/corpora/mtdata.$target" get_mtdata
  stage "newstest2013" "$OUT/corpora/newstest2013.$target" get_test_set newstest2013 wmt13
  stage "newstest2014" "$OUT/corpora/newstest2014.$target" get_test_set newstest2014 wmt14/full
else
  list_archives
  fetch_and_extract "$RAW_DIR"
  raw=("${archives[@]/#/$RAW_DIR/}")
fi

clean_training_text --max-words "$MAX_WORDS" --max-ratio "$MAX_RATIO"
for split in valid test; do
  stage "$split" "$OUT/clean/$split.$target" copy_split "$split"
done
options=(--sample "$SAMPLE")
[[ $BPE != moses ]] || options=(--normalise)
encode_and_binarise "${options[@]}"
end_preparation ${raw[@]+"${raw[@]}"}
