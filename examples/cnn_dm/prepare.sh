#!/usr/bin/env bash
# Prepares CNN/DailyMail or XSum for BART: gets the text, encodes it with GPT-2's byte-pair
# encoding, cuts what is longer than BART's positions, and binarises it with BART's dictionary.
# Running it again skips what is complete.
#
#   bash examples/cnn_dm/prepare.sh
#
# Settings (environment variables):
#   DATASET     cnn_dm or xsum                                  default: cnn_dm
#   RAW_DIR     folder of {train,val,test}.{source,target}, a text a line
#               default: the data set from Hugging Face
#   BART_DIR    folder of the unpacked bart.large.tar.gz; its dict.txt is used
#   GPT2_BPE    folder of encoder.json and vocab.bpe            default: $OUT/gpt2_bpe, downloaded
#   MAX_TOKENS_OF_TEXT  longest document or summary, in tokens  default: 1024; SMALL: 64, at most 256
#   WORKERS     processes                                       default: one a core
#   OUT         where to write                                  default: runs/$DATASET
#   SMALL       1: for a small model trained from scratch on RAW_DIR: BPE (4,000 pieces) and
#               dictionary are learnt from the text; OUT is runs/summaries_small    default: 0
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
no_arguments "$@"
source "$here/settings.sh"

RAW_DIR=${RAW_DIR:-}
BART_DIR=${BART_DIR:-}
GPT2_BPE=${GPT2_BPE:-$OUT/gpt2_bpe}
MAX_TOKENS_OF_TEXT=${MAX_TOKENS_OF_TEXT:-$((SMALL ? 64 : positions))}
WORKERS=${WORKERS:-$(nproc)}
require_positive WORKERS
[[ $MAX_TOKENS_OF_TEXT =~ ^[1-9][0-9]{0,3}$ && $MAX_TOKENS_OF_TEXT -ge 2 && $MAX_TOKENS_OF_TEXT -le $positions ]] ||
  die "MAX_TOKENS_OF_TEXT must be from 2 to $positions (the model's positions), got '$MAX_TOKENS_OF_TEXT'"
require_program fairseq-preprocess
if ((SMALL)); then
  [[ -n $RAW_DIR ]] || die "SMALL=1 needs RAW_DIR; package_descriptions.py can make one"
else
  [[ -n $BART_DIR ]] || die "BART_DIR is not set: unpack" \
    "https://dl.fbaipublicfiles.com/fairseq/models/bart.large.tar.gz and name its folder"
  [[ -f $BART_DIR/dict.txt ]] || die "BART_DIR ($BART_DIR) holds no dict.txt"
fi

corpus=${RAW_DIR:-$OUT/raw}
if ! [[ -n $RAW_DIR || -d $corpus ]]; then
  python "$here/export_dataset.py" --dataset "$DATASET" --out "$corpus"
fi
[[ -d $OUT/bin ]] || python "$here/check_pairs.py" "$corpus"
# the text itself, too: evaluate.sh takes references from it
keep_settings_of "$OUT/raw.settings" "DATASET=$DATASET SMALL=$SMALL RAW_DIR=$RAW_DIR \
checksum=$(checksum "$corpus"/{train,val,test}.{source,target})" \
  "set OUT to another folder, or remove $OUT" "$OUT"/{bpe,bin}
keep_settings_of "$OUT/bpe.settings" "BART_DIR=$BART_DIR GPT2_BPE=$GPT2_BPE MAX_TOKENS_OF_TEXT=$MAX_TOKENS_OF_TEXT" \
  "set OUT to another folder, or remove $OUT/bpe and $OUT/bin" "$OUT"/{bpe,bin}
link "$corpus" "$OUT/raw" # for evaluate.sh

if ((SMALL)) && ! [[ -d $GPT2_BPE ]]; then
  python "$root/scripts/corpus/learn_bpe.py" --size 4000 --out "$GPT2_BPE" "$corpus"/train.{source,target}
fi

mkdir -p "$OUT/bpe"
files=({train,val,test}.{source,target})
to_encode=()
for file in "${files[@]}"; do
  [[ -f $OUT/bpe/$file.whole || -f $OUT/bpe/$file ]] ||
    to_encode+=("$corpus/$file" "$OUT/bpe/$file.whole")
done
if ((${#to_encode[@]})); then
  bpe=()
  ((SMALL)) || bpe=(--download --published)
  python "$root/scripts/corpus/gpt2_bpe.py" --bpe-dir "$GPT2_BPE" "${bpe[@]}" --workers "$WORKERS" \
    "${to_encode[@]}"
fi
link "$GPT2_BPE" "$OUT/gpt2_bpe" # for evaluate.sh
longest=$((MAX_TOKENS_OF_TEXT - 1)) # and the </s> that fairseq adds
for file in "${files[@]}"; do
  [[ ! -f $OUT/bpe/$file ]] || continue
  longer=$(awk -v longest=$longest 'NF > longest {n++} END {print n + 0}' "$OUT/bpe/$file.whole")
  ((!longer)) || echo "$file: $longer longer than $MAX_TOKENS_OF_TEXT tokens, cut to that"
  cut -d ' ' -f "1-$longest" "$OUT/bpe/$file.whole" >"$OUT/bpe/$file.tmp"
  mv "$OUT/bpe/$file.tmp" "$OUT/bpe/$file"
  rm "$OUT/bpe/$file.whole"
done

if ! [[ -d $OUT/bin ]]; then
  dictionary=(--joined-dictionary)
  ((SMALL)) || dictionary=(--srcdict "$BART_DIR/dict.txt" --tgtdict "$BART_DIR/dict.txt")
  preprocess "$OUT/bin.tmp" "$OUT/preprocess.log" --source-lang source --target-lang target \
    "${dictionary[@]}" --workers "$WORKERS" \
    --trainpref "$OUT/bpe/train" --validpref "$OUT/bpe/val" --testpref "$OUT/bpe/test"
  if ! ((SMALL)); then # GPT-2's pieces are all in BART's dictionary
    unknown=$(grep -o '[0-9.e-]*% replaced' "$OUT/preprocess.log" | sort -g | tail -n 1)
    awk -v unknown="${unknown%\%*}" 'BEGIN {exit unknown > 1}' ||
      die "$unknown by <unk>: $BART_DIR/dict.txt is not BART's dictionary"
  fi
  mv "$OUT/bin.tmp" "$OUT/bin"
fi
echo "ready to train on: $OUT/bin"
