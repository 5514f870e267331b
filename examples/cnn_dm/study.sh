#!/usr/bin/env bash
# A study on a CPU: what R-Drop gains on documents, with the encoder twice and once, at equal updates
# and at equal CPU time. Trains and scores one run after the other, and writes the tables after each;
# running it again skips runs that are complete, and goes on with one that was stopped.
#
#   RAW_DIR=pairs bash examples/cnn_dm/study.sh
#
# RUNS is a list of SETTING:SEED. What a setting does not name is as train.sh with SMALL=1 has it:
#   baseline       label-smoothed cross-entropy
#   alphaA         R-Drop with alpha A
#   alphaA-once    its passes go through the decoder only (ENCODER=once)
#   baseline-time, alphaA-once-time
#                  that setting from its beginning, with as many updates (and as long a schedule)
#                  as it makes in the CPU time of $MAIN; needs it and $MAIN of the same seed,
#                  earlier in the list
#
# Writes results.tsv, differences.tsv and results.md to $OUT.
#
# Settings (environment variables):
#   MAIN     the setting whose time it is                     default: alpha0.7
#   RUNS     what to run          default: baseline, $MAIN, $MAIN-once, baseline-time and
#            $MAIN-once-time, each with seeds 1 and 2
#   UPDATES  updates of each run but -time                    default: 3000
#   MAX_TOKENS_OF_TEXT  longest document or summary           default: 256
#   OUT      where to write                                   default: runs/summaries_study
#   and those of prepare.sh, train.sh and evaluate.sh for SMALL=1 CPU=1, of which
#   BEAM, LENPEN, MAX_LEN, MIN_LEN, FORCE_BOS   are the same for all runs
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
no_arguments "$@"
export SMALL=1 CPU=1 OUT=${OUT:-$root/runs/summaries_study} MAX_TOKENS_OF_TEXT=${MAX_TOKENS_OF_TEXT:-256}
MAIN=${MAIN:-alpha0.7} UPDATES=${UPDATES:-3000}
RUNS=${RUNS:-baseline:1 $MAIN:1 $MAIN-once:1 baseline-time:1 $MAIN-once-time:1
  baseline:2 $MAIN:2 $MAIN-once:2 baseline-time:2 $MAIN-once-time:2}
runs=$OUT/runs

# read_setting NAME: sets the array variables to what train.sh is given for it
read_setting() {
  if [[ $1 =~ ^baseline(-time)?$ ]]; then
    variables=(CRITERION=baseline)
  elif [[ $1 =~ ^alpha([0-9]+(\.[0-9]+)?)(-once(-time)?)?$ ]]; then
    variables=(CRITERION=rdrop "ALPHA=${BASH_REMATCH[1]}" ENCODER=twice)
    [[ -z ${BASH_REMATCH[3]} ]] || variables+=(ENCODER=once)
  else
    die "no such setting: $1; see --help"
  fi
}

tables() { python "$here/results.py" --runs "$runs" --main "$MAIN" --out "$OUT"; }

check_runs
require_positive UPDATES
bash "$here/prepare.sh"
search="BEAM=${BEAM:-} LENPEN=${LENPEN:-} MAX_LEN=${MAX_LEN:-} MIN_LEN=${MIN_LEN:-} FORCE_BOS=${FORCE_BOS:-}"
keep_settings "$OUT/study.settings" "MAIN=$MAIN UPDATES=$UPDATES $search" "set OUT to another folder"
export OMP_NUM_THREADS=1 # one thread: seconds of CPU time compare

for item in $RUNS; do
  setting=${item%:*} seed=${item#*:}
  run=$runs/$setting.$seed
  read_setting "$setting"
  updates=$UPDATES
  [[ $setting != *-time ]] || updates=$(updates_in_time "$runs" "${setting%-time}" "$seed")
  train=(env "${variables[@]}" "SEED=$seed" "UPDATES=$updates" "SAVE_DIR=$run" bash "$here/train.sh")
  if is_trained "$run" "$updates" >/dev/null; then
    "${train[@]}" | tail -n 1 # which refuses it if it is of other settings or data
  else
    mkdir -p "$run"
    echo "train: $setting, seed $seed, $updates updates, in $run/train.log"
    record_seconds "$run/cpu_seconds" "${train[@]}" >/dev/null || die "training failed: see $run/train.log"
  fi
  if [[ ! $run/test/rouge.json -nt $run/updates ]]; then
    DIR=$run/test bash "$here/evaluate.sh" "$run/checkpoint_best.pt" >/dev/null
    tables
  fi
done
tables
cat "$OUT/results.md"
