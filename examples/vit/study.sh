#!/usr/bin/env bash
# The study of README.md: a small ViT on Fashion-MNIST, R-Drop against a baseline with the same
# number of updates and against one with the same CPU time. Trains and scores one run after the
# other and writes results.tsv, results.md, curves.tsv and accuracy.png after each; running it again
# skips runs that are complete, and goes on with one that was stopped.
#
#   DATA_DIR=/usr/share/dataset-fashion-mnist bash examples/vit/study.sh
#
# RUNS is a list of SETTING:SEED. What a setting does not name is as train.sh --small has it:
#   baseline       plain cross-entropy
#   alphaA         R-Drop with alpha A
#   baseline-time  the baseline from its beginning with as many updates (and as long a schedule)
#                  as it makes in the CPU time of $MAIN; needs baseline and $MAIN of the same
#                  seed, earlier in the list
#
# Settings (environment variables):
#   MAIN     the setting of R-Drop that is compared with the baselines   default: alpha1
#   RUNS     what to run                             default: these three, seeds 1, 2 and 3
#   UPDATES  updates of each run but baseline-time   default: 3000
#   OUT      where to write                          default: runs/vit
#   and those of prepare.sh and train.sh
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$here/settings.sh"
no_arguments "$@"
MAIN=${MAIN:-alpha1} UPDATES=${UPDATES:-3000}
RUNS=${RUNS:-baseline:1 $MAIN:1 baseline-time:1 baseline:2 $MAIN:2 baseline-time:2 baseline:3
  $MAIN:3 baseline-time:3}
read_arguments --small
require_positive UPDATES
[[ ${WORKERS:-0} == 0 ]] || die "WORKERS must be 0 here: the CPU time of other processes would not be counted"
export OUT MAIN

# read_setting NAME: sets the array variables to what train.sh is given for it
read_setting() {
  if [[ $1 =~ ^baseline(-time)?$ ]]; then
    variables=(CRITERION=baseline)
  elif [[ $1 =~ ^alpha([0-9]+(\.[0-9]+)?)$ ]]; then
    variables=(CRITERION=rdrop "ALPHA=${BASH_REMATCH[1]}")
  else
    die "no such setting: $1; see --help"
  fi
}

# cpu_seconds RUN: what its updates have taken
cpu_seconds() {
  [[ -f $runs/$1/updates ]] || die "baseline-time:$seed needs ${1%.*}:$seed earlier in RUNS"
  tail -n 1 "$runs/$1/curve.tsv" | cut -f 2
}

check_runs
bash "$here/prepare.sh" --small
keep_settings "$runs/study.settings" "MAIN=$MAIN UPDATES=$UPDATES" "set OUT to another folder"

for item in $RUNS; do
  setting=${item%:*} seed=${item#*:}
  read_setting "$setting"
  updates=$UPDATES
  if [[ $setting == baseline-time ]]; then
    plain=$(cpu_seconds "baseline.$seed")
    main=$(cpu_seconds "$MAIN.$seed")
    updates=$(updates_in "$main" "$UPDATES" "$plain")
  fi
  variables+=("RUN=$setting.$seed" "SEED=$seed" "UPDATES=$updates")
  env "${variables[@]}" bash "$here/train.sh" --small
  bash "$here/evaluate.sh" --small >/dev/null
  python "$here/plot.py" "$runs/curves.tsv" "$runs/accuracy.png"
done
cat "$runs/results.md"
echo "results in $runs/results.tsv, results.md, curves.tsv and accuracy.png"
