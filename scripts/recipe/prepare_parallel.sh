# shellcheck shell=bash disable=SC2153,SC2154  # the caller sets the variables
# Sourced by the prepare.sh of the translation recipes: from archives to fairseq's binary data.
#
# A recipe's archives are listed in a table, archives.tsv, with a line for every corpus:
#   pairs  split  corpus  archive  member  checksum  address
# pairs: en-de,en-fr; split: train, valid or test; member: name in the archive, in which
# {other} is the language beside English, and {language} and {role} are those of
# scripts/corpus/extract_text.py; checksum: sha256:HEX, md5:HEX or - where none is known; address: -
# where it must be fetched by hand. The archive "sacrebleu" stands for its data set of the
# member's name, which sacrebleu downloads and checks itself.
#
# The caller sets pair, source, target, OUT, MAX_WORDS, MAX_RATIO, VOCAB_SIZE.

BPE=${BPE:-sentencepiece} WORKERS=${WORKERS:-$(nproc)}
DOWNLOAD=1
[[ -z ${RAW_DIR:-} ]] || DOWNLOAD=0

# table_checksum: of what the table of archives says of the pair, but the addresses, if there is one
table_checksum() {
  [[ ${SOURCE:-archives} == archives && -f $ARCHIVES ]] || return 0
  list_archives
  echo " archives=$(paste <(printf '%s\n' "${splits[@]}") <(printf '%s\n' "${corpora[@]}") \
    <(printf '%s\n' "${archives[@]}") <(printf '%s\n' "${members[@]}") | checksum)"
}

# begin_preparation CORPORA [SUBWORDS]: checks the settings and compares them with those of what is
# there; CORPORA is those of the text, SUBWORDS more of those of the subwords
begin_preparation() {
  local cleaning="max_words=$MAX_WORDS max_ratio=$MAX_RATIO" subwords="bpe=$BPE vocab_size=$VOCAB_SIZE${2:-}"
  RAW_DIR=${RAW_DIR:-$OUT/raw}
  ARCHIVES=${ARCHIVES:-$([[ -f $RAW_DIR/archives.tsv ]] && echo "$RAW_DIR" || echo "$here")/archives.tsv}
  require_choice BPE sentencepiece moses
  ((DOWNLOAD)) || [[ -d $RAW_DIR ]] || die "no such folder: RAW_DIR=$RAW_DIR"
  require_positive VOCAB_SIZE MAX_WORDS WORKERS
  require_program python fairseq-preprocess
  settings="$1 $cleaning $subwords"
  local pieces=("$OUT/pieces" "$OUT/data-bin" "$OUT/manifest.json")
  keep_corpora_settings "$1$(table_checksum)" "$OUT/clean/train.clean.json" "${pieces[@]}"
  keep_stage_settings clean "$cleaning" "$OUT/clean/train.clean.json" "${pieces[@]}"
  keep_stage_settings pieces "$subwords" "${pieces[@]}"
  mkdir -p "$OUT/corpora" "$OUT/clean"
}

# keep_stage_settings NAME SETTINGS PRODUCT...: with what the first PRODUCT and the others, which
# follow from it, are made
keep_stage_settings() {
  keep_settings_of "$OUT/$1.settings" "$2" \
    "set OUT to another folder, or remove what was made with them from $OUT: $1 and the later ones of corpora, clean, pieces, data-bin, manifest.json" \
    "${@:3}"
}

# keep_corpora_settings SETTINGS LATER...: the same for the text that is there so far, and for the
# folder of archives that it is from, relative to $OUT if it is in it
keep_corpora_settings() {
  local text folder
  text=$(find "$OUT/corpora" -type f -print -quit 2>/dev/null) || true
  folder=$(realpath -m --relative-base="$OUT" "$RAW_DIR")
  keep_stage_settings corpora "$1 raw_dir=$folder" "${text:-$OUT/corpora/none}" "${@:2}"
}

# list_archives: fills the arrays below with the lines of the table that the pair needs
list_archives() {
  splits=() corpora=() archives=() members=() checksums=() addresses=()
  [[ -f $ARCHIVES ]] || die "no such table of archives: $ARCHIVES"
  local pairs split corpus archive member checksum address other=${source/en/$target}
  [[ $source != en ]] || other=$target
  while IFS=$'\t' read -r pairs split corpus archive member checksum address; do
    [[ ,$pairs, == *,$pair,* ]] || continue
    splits+=("$split") corpora+=("$corpus") archives+=("$archive")
    members+=("${member//\{other\}/$other}") checksums+=("$checksum") addresses+=("$address")
  done <"$ARCHIVES"
  ((${#splits[@]})) || die "$ARCHIVES lists nothing for $pair"
}

# is_extracted N: corpus N of the table is there as text
is_extracted() { [[ -e $OUT/corpora/${corpora[$1]}.$source && -e $OUT/corpora/${corpora[$1]}.$target ]]; }

# get_test_set NAME SET: a data set of sacrebleu
get_test_set() {
  local side language
  require_program sacrebleu
  for side in src ref; do
    language=$source
    [[ $side == src ]] || language=$target
    sacrebleu -t "$2" -l "$pair" --echo "$side" >"$OUT/corpora/$1.$language.tmp" ||
      die "sacrebleu could not get $2"
    mv "$OUT/corpora/$1.$language.tmp" "$OUT/corpora/$1.$language"
  done
}

# fetch_and_extract FOLDER: text of every corpus of the table into $OUT/corpora. Archives are
# taken from FOLDER; with DOWNLOAD=1 those that it lacks are downloaded into it.
fetch_and_extract() {
  local folder=$1 i missing=()
  for i in "${!splits[@]}"; do
    is_extracted "$i" || [[ -f $folder/${archives[i]} || ${archives[i]} == sacrebleu ]] && continue
    if ((!DOWNLOAD)) || [[ ${addresses[i]} == - ]]; then
      local line="  ${archives[i]}  ${addresses[i]/#-/(not to be had at a fixed address: see the README)}"
      [[ " ${missing[*]} " == *"$line"* ]] || missing+=("$line")
    fi
  done
  if ((${#missing[@]})); then
    printf '%s\n' "${missing[@]}" >&2
    die "$folder lacks the ${#missing[@]} archive(s) above"
  fi
  for i in "${!splits[@]}"; do
    if is_extracted "$i"; then
      echo "== ${corpora[i]}: done already"
      continue
    fi
    echo "== ${corpora[i]}"
    if [[ ${archives[i]} == sacrebleu ]]; then
      get_test_set "${corpora[i]}" "${members[i]}"
      continue
    fi
    python "$root/scripts/corpus/download.py" "${addresses[i]}" --to "$folder/${archives[i]}" \
      --checksum "${checksums[i]}"
    python "$root/scripts/corpus/extract_text.py" --archive "$folder/${archives[i]}" \
      --member "${members[i]}" --languages "$source" "$target" --out "$OUT/corpora/${corpora[i]}"
  done
}

# corpora_of SPLIT: the corpora of the table that make up a split, a line each
corpora_of() {
  local i
  for i in "${!splits[@]}"; do
    [[ ${splits[i]} != "$1" ]] || echo "$OUT/corpora/${corpora[i]}"
  done
}

# copy_split SPLIT: valid or test as they are, whole
copy_split() {
  local language parts
  mapfile -t parts < <(corpora_of "$1")
  for language in "$source" "$target"; do
    cat "${parts[@]/%/.$language}" >"$OUT/clean/$1.$language.tmp" || {
      rm -f "$OUT/clean/$1.$language.tmp"
      die "cannot write $OUT/clean/$1.$language"
    }
    mv "$OUT/clean/$1.$language.tmp" "$OUT/clean/$1.$language"
  done
}

# clean_training_text OPTION...: the corpora of train to $OUT/clean, by clean_corpus.py
clean_training_text() {
  local parts
  mapfile -t parts < <(corpora_of train)
  stage "clean" "$OUT/clean/train.clean.json" python "$root/scripts/corpus/clean_corpus.py" \
    --languages "$source" "$target" --out "$OUT/clean/train" \
    --workers "$WORKERS" "$@" "${parts[@]}"
}

# encode_and_binarise OPTION...: $OUT/clean to $OUT/pieces, by encode_corpus.py, and $OUT/data-bin
encode_and_binarise() {
  stage "subwords" "$OUT/pieces" python "$root/scripts/corpus/encode_corpus.py" --corpus "$OUT/clean" \
    --languages "$source" "$target" --bpe "$BPE" --vocab-size "$VOCAB_SIZE" "$@" \
    --workers "$WORKERS" --out "$OUT/pieces"
  stage "binarise" "$OUT/data-bin" preprocess "$OUT/data-bin" "$OUT/preprocess.log" \
    -s "$source" -t "$target" --joined-dictionary --workers "$WORKERS" \
    --trainpref "$OUT/pieces/train.pieces" --validpref "$OUT/pieces/valid.pieces" \
    --testpref "$OUT/pieces/test.pieces"
}

# end_preparation ARCHIVE...: writes the manifest of the ARCHIVEs, all text and binaries
end_preparation() {
  stage "manifest" "$OUT/manifest.json" write_manifest "$@"
  echo "data: $OUT/data-bin; what it was made of: $OUT/manifest.json"
}

write_manifest() {
  local notes=() note archive archives=()
  for note in $settings; do
    notes+=(--note "$note")
  done
  for archive in "$@"; do
    if [[ " ${archives[*]-} " == *" $archive "* || ${archive##*/} == sacrebleu ]]; then
      continue
    elif [[ -f $archive ]]; then
      archives+=("$archive")
    else
      echo "note: $archive is not there any more: the manifest is without its checksum"
    fi
  done
  python "$root/scripts/recipe/manifest.py" --out "$OUT/manifest.json" "${notes[@]}" ${archives[@]+"${archives[@]}"} \
    "$OUT"/corpora/*.* "$OUT"/clean/{train,valid,test}.* "$OUT"/pieces/* "$OUT"/data-bin/*.{txt,bin,idx}
}
