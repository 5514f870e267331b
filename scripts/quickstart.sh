#!/usr/bin/env bash
# From nothing to a translation model trained with R-Drop and its BLEU, in about ten minutes
# on two CPU cores: installs into .venv, prepares the Spanish-English verses beside this
# script, trains, translates the held-out test set and scores it with sacrebleu.
# Running it again skips what is done and resumes an interrupted training.
#
#   bash scripts/quickstart.sh [--compare] [--updates N] [--alpha A] [--seed S] [--out DIR]
#
#   --compare    also train the same model with fairseq's label_smoothed_cross_entropy, and
#                print sacrebleu's paired bootstrap between the two
#   --updates N  updates of training                      default: 2400
#   --alpha A    weight of R-Drop's KL term               default: 1
#   --seed S     seed of parameters, batches and dropout  default: 1
#   --out DIR    where to write                           default: runs/quickstart
#
# Settings (environment variables):
#   VENV, PYTHON     see scripts/setup.sh
#   OMP_WAIT_POLICY  how threads wait for each other         default: passive; active is faster
#                    on a machine that does nothing else, and several times slower on a busy one
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
VENV=${VENV:-$root/.venv}
updates=2400 alpha=1 seed=1 out=$root/runs/quickstart compare=false

die() {
  echo "quickstart: $*" >&2
  exit 1
}

while (($#)); do
  case $1 in
    -h | --help)
      sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" # the header comment
      exit 0
      ;;
    --compare) compare=true && shift ;;
    --updates | --alpha | --seed | --out)
      (($# > 1)) || die "$1 needs a value"
      printf -v "${1#--}" '%s' "$2"
      shift 2
      ;;
    *) die "unknown argument $1; see --help" ;;
  esac
done
[[ $updates =~ ^[1-9][0-9]*$ ]] || die "--updates must be a whole number above 0, got $updates"
[[ $seed =~ ^[0-9]+$ ]] || die "--seed must be a whole number, got $seed"
[[ $alpha =~ ^[0-9]*\.?[0-9]+$ ]] || die "--alpha must be a number >= 0, got $alpha"

bash "$root/scripts/setup.sh"
VENV=$(cd "$VENV" && pwd)
export PATH="$VENV/bin:$PATH"
mkdir -p "$out"
out=$(cd "$out" && pwd)
trap 'echo "quickstart: stopped; run it again to go on from here" >&2; exit 130' INT TERM

# threads that spin while they wait slow each other down severalfold where a core is busy
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} PYTHONWARNINGS=ignore

dim=128 # of the model, and so of the vectors that it starts from
started=$SECONDS
times=()
# stage NAME COMMAND...: run a command with a headline, and note the time it takes
stage() {
  local name=$1 begin=$SECONDS
  shift
  echo "== $name"
  "$@"
  times+=("$(printf '%-24s %4d s' "$name" $((SECONDS - begin)))")
}

# once FOLDER INPUT COMMAND...: makes FOLDER, unless it is there, from INPUT
once() {
  rdrop run --once --folder "$1" --inputs "$2" -- "${@:3}" >>"$out/prepare.log" 2>&1 || {
    tail -n 1 "$out/prepare.log" >&2
    die "that failed; all it said is in $out/prepare.log"
  }
}

prepare() {
  once "$out/text" "$root/scripts/quickstart_data" \
    rdrop corpus encode --corpus "$root/scripts/quickstart_data" --languages es en \
    --vocab-size 4000 --out "$out/text"
  # so few updates are too few to learn from nothing which word is which
  once "$out/vectors" "$out/text" \
    rdrop corpus vectors --text "$out/text/train.pieces" --languages es en --dim "$dim" --out "$out/vectors"
  # one worker: at Ctrl-C, more of them can leave fairseq-preprocess waiting for ever
  once "$out/bin" "$out/text" \
    fairseq-preprocess -s es -t en --workers 1 --trainpref "$out/text/train.pieces" \
    --validpref "$out/text/valid.pieces" --testpref "$out/text/test.pieces" --destdir "$out/bin"
}

# train RUN CRITERION...: goes on from its last checkpoint
train() {
  rdrop run --progress --folder "$out/$1" --inputs "$out/bin" "$out/vectors" -- \
    fairseq-train "$out/bin" --user-dir rdrop_fairseq --save-dir "$out/$1" "${@:2}" \
    --task translation --source-lang es --target-lang en \
    --arch transformer --share-decoder-input-output-embed --dropout 0.1 \
    --encoder-embed-path "$out/vectors/es.vec" --decoder-embed-path "$out/vectors/en.vec" \
    --encoder-layers 3 --encoder-embed-dim "$dim" --encoder-ffn-embed-dim 512 --encoder-attention-heads 4 \
    --decoder-layers 3 --decoder-embed-dim "$dim" --decoder-ffn-embed-dim 512 --decoder-attention-heads 4 \
    --label-smoothing 0.1 --optimizer adam --adam-betas '(0.9, 0.98)' \
    --lr 2e-3 --lr-scheduler polynomial_decay --warmup-updates 200 --max-tokens 1000 \
    --max-update "$updates" --total-num-update "$updates" --seed "$seed" \
    --save-interval-updates 200 --keep-interval-updates 1 --no-epoch-checkpoints \
    --cpu --num-workers 0 --log-format simple --log-interval 1 >/dev/null
}

evaluate() {
  local run=$out/$1
  [[ -f $run/scores.json && $run/scores.json -nt $run/checkpoint_last.pt ]] ||
    rdrop evaluate "$out/bin" "$run/checkpoint_last.pt" --out "$run" --reference "$out/text/test.en" >/dev/null
}

score() { rdrop score --reference "$out/text/test.en" --hypothesis "$@"; }

samples() {
  local line
  for line in 40 240 440; do
    echo "  source:     $(sed -n "${line}p" "$out/text/test.es")"
    echo "  R-Drop:     $(sed -n "${line}p" "$out/rdrop/hyp.txt")"
    echo "  reference:  $(sed -n "${line}p" "$out/text/test.en")"
    echo
  done
}

stage "prepare" prepare
stage "train with R-Drop" train rdrop --criterion rdrop --rdrop-alpha "$alpha"
stage "translate and score" evaluate rdrop
if $compare; then
  stage "train the baseline" train baseline --criterion label_smoothed_cross_entropy
  stage "translate and score it" evaluate baseline
fi

# what needs no training: copying the source, or always the most frequent training sentence
most=$(sort "$out/text/train.en" | uniq -c | sort -k1,1nr -k2 | sed -n '1s/^ *[0-9]* //p')
most="$most" awk '{ print ENVIRON["most"] }' "$out/text/test.en" >"$out/constant.txt"

echo
echo "== Three translations of the test set"
samples
echo "== Scores on the test set ($(wc -l <"$out/text/test.en") verses of books that training never saw)"
echo "copying the source:          $(score "$out/text/test.es" | sed -n 1p)"
echo "most frequent sentence:      $(score "$out/constant.txt" | sed -n 1p)"
if $compare; then
  echo "baseline (no R-Drop), then R-Drop, $updates updates each:"
  score "$out/baseline/hyp.txt"
  score "$out/rdrop/hyp.txt" --baseline "$out/baseline/hyp.txt" --json "$out/rdrop/scores.json"
else
  echo "R-Drop, $updates updates:"
  score "$out/rdrop/hyp.txt"
fi
echo
echo "== Time"
printf '%s\n' "${times[@]}"
printf '%-24s %4d s\n' "all" $((SECONDS - started))
echo
echo "== Files"
echo "data        $out/bin (text and sentencepiece model in $out/text)"
echo "model       $out/rdrop/checkpoint_last.pt"
echo "log         $out/rdrop/run.log"
echo "translation $out/rdrop/hyp.txt, reference $out/rdrop/ref.txt, scores $out/rdrop/scores.json"
