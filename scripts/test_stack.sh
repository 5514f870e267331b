#!/usr/bin/env bash
# Tests the plugin on another Python and fairseq than those that CI has: makes an environment,
# runs the tests of loss and criteria in it, trains a tiny model on real verses, resumes, and
# translates. Says what was skipped and why; ends with a line for each result.
#
#   bash scripts/test_stack.sh 3.10    Python 3.10, torch 2.0.1, fairseq 0.12.2
#   bash scripts/test_stack.sh 3.13    Python 3.13, fairseq-fixed, all else as in constraints.txt
#
# It downloads some 3 GB, torch for GPUs, and compiles fairseq; then it takes about five minutes.
#
# Settings (environment variables):
#   OUT      folder for environment, logs and checkpoints;
#            what is there already is used again          default: a new one, removed if all is well
#   PYTHON   the Python to test with                      default: python3.10 or python3.13
#   WORKERS  processes that share the tests               default: 2
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
die() {
  echo "test_stack: $*" >&2
  exit 1
}
case "$*" in
  3.10 | 3.13) ;;
  -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" && exit ;;
  *) die "expected 3.10 or 3.13, got '$*'; see --help" ;;
esac
stack=$1
PYTHON=${PYTHON:-python$stack}
WORKERS=${WORKERS:-2}
[[ $WORKERS =~ ^[1-9][0-9]*$ ]] || die "WORKERS must be a whole number of at least 1, got '$WORKERS'"
found=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || found=none
[[ $found == "$stack" ]] || die "$PYTHON is not a Python $stack: set PYTHON=/path/to/python$stack"
temporary=
[[ -n ${OUT:-} ]] || OUT=$(mktemp -d) temporary=$OUT
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
export OMP_NUM_THREADS=1

# fairseq 0.12.2 needs omegaconf 2.0, whose metadata newer versions of pip refuse
fairseq_0_12_2=('pip<24.1' fairseq==0.12.2 torch==2.0.1 torchaudio==2.0.2 'numpy<2')

make_environment() {
  if [[ $stack == 3.13 ]]; then
    PYTHON=$PYTHON VENV=$OUT/venv bash "$root/scripts/setup.sh"
    return
  fi
  [[ ! -f $OUT/venv/made ]] || return 0
  "$PYTHON" -m venv "$OUT/venv"
  pip=("$OUT/venv/bin/python" -m pip install --quiet --disable-pip-version-check)
  "${pip[@]}" "${fairseq_0_12_2[0]}"
  "${pip[@]}" "${fairseq_0_12_2[@]}" hypothesis pytest pytest-xdist scikit-learn scipy \
    --editable "$root"
  touch "$OUT/venv/made"
}

results=()
# result NAME TEXT: what is printed in the end
result() { results+=("$(printf '%-20s %s' "$1" "$2")"); }

# tests NAME PATH
tests() {
  echo "== $2"
  python -m pytest "$2" --quiet -rfs --numprocesses "$WORKERS" -p no:cacheprovider >"$OUT/$1.log" 2>&1 ||
    failed=1
  grep -E '^(FAILED|ERROR|SKIPPED) ' "$OUT/$1.log" || true
  result "$2" "$(grep -E '^[0-9]+ (passed|failed|error|skipped).* in ' "$OUT/$1.log" ||
    echo "ended without a result; see $OUT/$1.log")"
}

# logged NAME COMMAND...: run it, its output into a log
logged() {
  local name=$1
  shift
  "$@" >"$OUT/$name.log" 2>&1 || {
    failed=1
    tail -n 3 "$OUT/$name.log" >&2
    result "$name" "failed; see $OUT/$name.log"
    return 1
  }
}

prepare() {
  rm -rf "$OUT/text" "$OUT/data-bin"
  rdrop corpus encode --corpus "$root/scripts/quickstart_data" --languages es en \
    --vocab-size 1000 --out "$OUT/text" &&
    fairseq-preprocess -s es -t en --joined-dictionary --workers 1 --destdir "$OUT/data-bin" \
      --trainpref "$OUT/text/train.pieces" --validpref "$OUT/text/valid.pieces"
}

# train UPDATES: from the last checkpoint if there is one
train() {
  fairseq-train "$OUT/data-bin" --user-dir "$root/rdrop_fairseq" --save-dir "$OUT/checkpoints" -s es -t en \
    --criterion rdrop --rdrop-alpha 1 --label-smoothing 0.1 --arch transformer --share-all-embeddings \
    --encoder-layers 2 --encoder-embed-dim 64 --encoder-ffn-embed-dim 128 --encoder-attention-heads 2 \
    --decoder-layers 2 --decoder-embed-dim 64 --decoder-ffn-embed-dim 128 --decoder-attention-heads 2 \
    --optimizer adam --lr 5e-3 --lr-scheduler fixed --max-tokens 1000 --max-update "$1" \
    --no-epoch-checkpoints --cpu --num-workers 0 --log-format simple --seed 1
}

translate() {
  fairseq-generate "$OUT/data-bin" --user-dir "$root/rdrop_fairseq" --path "$OUT/checkpoints/checkpoint_last.pt" \
    -s es -t en --gen-subset valid --beam 3 --max-len-b 40 --post-process sentencepiece --cpu
}

train_and_translate() {
  local sentences translated
  echo "== training"
  rm -rf "$OUT/checkpoints"
  logged prepare prepare || return 0
  logged train train 100 || return 0
  result "train" "$(sed -n 's/.*Stopping training due to num_updates: \([0-9]*\) .*/\1 updates/p' "$OUT/train.log")"
  logged resume train 200 || return 0
  if grep -q 'Loaded checkpoint .*(epoch [0-9]* @ 100 updates)' "$OUT/resume.log"; then
    result "resume" "$(sed -n 's/.*Stopping training due to num_updates: \([0-9]*\) .*/\1 updates/p' "$OUT/resume.log")"
  else
    failed=1
    result "resume" "did not go on after update 100; see $OUT/resume.log"
  fi
  logged translate translate || return 0
  sentences=$(wc -l <"$OUT/text/valid.es")
  translated=$(grep -c '^H-' "$OUT/translate.log") || true
  [[ $translated == "$sentences" ]] || failed=1
  result "translate" "$translated of $sentences sentences"
}

make_environment
export PATH="$OUT/venv/bin:$PATH"
cd "$root"
versions=$(python -c 'import platform, fairseq, numpy, torch
print(f"Python {platform.python_version()}, torch {torch.__version__}, numpy {numpy.__version__}, "
      f"fairseq {fairseq.__version__}")' 2>/dev/null)
failed=0
tests loss tests/loss
tests criterions tests/criterions
train_and_translate
echo
echo "== $versions, $(date +%F)"
printf '%s\n' "${results[@]}"
if ((failed)); then
  die "not all is well; logs are in $OUT"
fi
[[ -z $temporary ]] || rm -rf "$temporary"
