# shellcheck shell=bash disable=SC2034,SC2153,SC2154  # shared with the scripts that source this
# Sourced by the settings.sh of glue and ner: the folders of a task, its encoder, and the scores of
# its runs. The caller sets TASK, the name of the task, and small, true or false.

# find_folders: sets OUT and the encoder, and data and runs, the folders of what is written
find_folders() {
  require_program python fairseq-train
  OUT=${OUT:-$root/runs/$(basename "$here")}
  if $small; then # prepare.sh makes them
    SMALL_DIR=${SMALL_DIR:-$OUT/small}
    ROBERTA_PATH=${ROBERTA_PATH:-$SMALL_DIR/minilm/model.pt}
  fi
  encoder=$(basename "$(realpath -ms "$(dirname "${ROBERTA_PATH:-unset/model.pt}")")")
  data=$OUT/$TASK/$encoder-data
  runs=$OUT/$TASK/$encoder
}

# data_checksum: of the binary data and a regression's labels, for a run's settings
data_checksum() { checksum "$data"/*/*.bin "$data"/label/*.label 2>/dev/null || true; }

# fetch_minilm: for --small, unless another encoder is named by ROBERTA_PATH
fetch_minilm() {
  if [[ $ROBERTA_PATH != "$SMALL_DIR/minilm/model.pt" ]]; then
    echo "note: --small with ROBERTA_PATH=$ROBERTA_PATH: that encoder, not MiniLM" >&2
  elif [[ ! -f $ROBERTA_PATH ]]; then
    python "$root/scripts/recipe/minilm.py" "$SMALL_DIR/minilm"
  fi
}

# need_encoder: ROBERTA_PATH is a checkpoint with its dictionary; sets model_dir
need_encoder() {
  [[ -n ${ROBERTA_PATH:-} ]] ||
    die "set ROBERTA_PATH to the model.pt of RoBERTa (https://dl.fbaipublicfiles.com/fairseq/models/roberta.large.tar.gz, unpacked), or of scripts/convert_roberta.py"
  [[ -f $ROBERTA_PATH ]] || die "ROBERTA_PATH: $ROBERTA_PATH does not exist"
  model_dir=$(cd "$(dirname "$ROBERTA_PATH")" && pwd)
  [[ -f $model_dir/dict.txt ]] || die "$model_dir has no dict.txt, which belongs to $ROBERTA_PATH"
}

# same_dictionary REMEDY: the data were made with this encoder's dictionary
same_dictionary() {
  cmp -s "$model_dir/dict.txt" "$data/input0/dict.txt" ||
    die "$data was made with another dictionary than $model_dir/dict.txt: $1"
}

# score_runs COMMAND...: run it with the folder of each finished run that is not scored yet, and
# print the table of all. They were all trained with the data that are there now
score_runs() {
  local mark run finished sum
  [[ -n ${ROBERTA_PATH:-} ]] || die "set ROBERTA_PATH as for train.sh"
  sum=$(data_checksum)
  shopt -s nullglob
  finished=("$runs"/*/seed*/updates)
  ((${#finished[@]})) || die "no finished run in $runs: run train.sh $TASK first"
  for mark in "${finished[@]}"; do
    run=$(dirname "$mark")
    grep -q " data $sum " "$run/settings" ||
      die "$run was trained with other data than $data holds now: remove it, or prepare its data again"
    [[ ! -f $run/scores.json || $run/scores.json -ot $mark ]] || continue
    echo "scoring $run"
    "$@" "$run" --batch-size "${BATCH:-32}" ${CPU:+--cpu "$CPU"}
  done
  python "$root/scripts/recipe/seeds_table.py" "$runs"
}
