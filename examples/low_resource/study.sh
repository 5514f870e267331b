#!/usr/bin/env bash
# The whole study: R-Drop against a baseline with the same number of updates and against one
# with the same CPU time, several seeds, several alpha. Trains and scores one run after the
# other (best and last checkpoint, average of the last five) and writes results.tsv and tables,
# results.md, after each; running it again goes on
# where it stopped.
#
#   RAW_DIR=~/debian-en-de bash examples/low_resource/study.sh
#
# RUNS is a list of SETTING:SEED. What a setting does not name is as train.sh has it:
#   baseline       fairseq's label_smoothed_cross_entropy
#   alphaA         R-Drop with alpha A
#   baseline-time  the baseline of that seed goes on until it has had the CPU time of $MAIN;
#                  needs baseline and $MAIN of the same seed, earlier in the list
#   alphaA-everyK  R-Drop at every K-th update only (--rdrop-interval)
#   alphaA-passesM R-Drop with M passes
#   alphaA-once    the passes go through the decoder only (--rdrop-encoder once); also
#                  alphaA-once-everyK and alphaA-once-passesM
#   baseline-long, alphaA-long, alphaA-once-long and so on
#                  the run of that setting and seed goes on until 2 x UPDATES (the baseline from
#                  baseline-time if that is there); needs it earlier in the list
#
# Settings (environment variables):
#   MAIN     the R-Drop setting that is compared with the baseline, default: alpha1
#   RUNS     what to run                                    default: the study of README.md
#   UPDATES  updates of each run but -time and -long        default: 3000
#   OUT      where to write                                 default: runs/low_resource
#   and those of prepare.sh
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
MAIN=${MAIN:-alpha1}
UPDATES=${UPDATES:-3000}
OUT=${OUT:-$root/runs/low_resource}
# what matters most comes first, so that a study that is stopped early says something
RUNS=${RUNS:-baseline:1 $MAIN:1 baseline:2 $MAIN:2 baseline:3 $MAIN:3 baseline-time:1
  baseline-time:2 baseline-time:3 baseline-long:1 $MAIN-long:1 baseline-long:2 $MAIN-long:2
  baseline-long:3 $MAIN-long:3 $MAIN-once:1 $MAIN-once:2 $MAIN-once:3 $MAIN-once-long:1
  $MAIN-once-long:2 $MAIN-once-long:3 $MAIN-once-passes3:1 $MAIN-once-passes3:2
  $MAIN-once-passes3:3 $MAIN-once-passes3-long:1 $MAIN-once-passes3-long:2
  $MAIN-once-passes3-long:3 alpha5:1 alpha3:1 alpha0:1 $MAIN-every2:1 $MAIN-every5:1
  $MAIN-passes3:1}
export OUT

no_arguments "$@"

# read_setting NAME: sets the array variables to what train.sh is given for it
read_setting() {
  local flags number='[0-9]+(\.[0-9]+)?'
  if [[ $1 =~ ^baseline(-time|-long)?$ ]]; then
    variables=(CRITERION=baseline TRAIN_ARGS=)
  elif [[ $1 =~ ^alpha($number)(-once)?(-(every|passes)([0-9]+))?(-long)?$ ]]; then
    flags=()
    [[ -z ${BASH_REMATCH[3]} ]] || flags+=(--rdrop-encoder once)
    case ${BASH_REMATCH[5]} in
      every) flags+=(--rdrop-interval "${BASH_REMATCH[6]}") ;;
      passes) flags+=(--rdrop-passes "${BASH_REMATCH[6]}") ;;
    esac
    variables=(CRITERION=rdrop "ALPHA=${BASH_REMATCH[1]}" "TRAIN_ARGS=${flags[*]}")
  else
    die "no such setting: $1; see --help"
  fi
}

# need_run SETTING SEED ITEM: it is trained, as ITEM needs, and how long that took is known
need_run() {
  [[ -f $OUT/runs/$1.$2/updates ]] || die "$3:$2 needs $1:$2 earlier in RUNS"
  recorded_seconds "$OUT/runs/$1.$2/cpu_seconds" >/dev/null
}

# go_on SETTING SEED NEW: puts a run where NEW is to go on from it
go_on() {
  local old=$OUT/runs/$1.$2 new=$OUT/runs/$3.$2
  need_run "$1" "$2" "$3"
  [[ ! -d $new ]] || return 0
  rm -rf "$new.tmp"
  mkdir "$new.tmp"
  cp "$old"/{checkpoint*.pt,train.log,train.settings,cpu_seconds} "$new.tmp"
  mv "$new.tmp" "$new"
}

check_runs
[[ -z ${SCORE_ARGS:-} ]] || die "SCORE_ARGS is set, but the study compares with sacrebleu's defaults: leave it unset"
bash "$here/prepare.sh"
keep_settings "$OUT/study.settings" "MAIN=$MAIN UPDATES=$UPDATES" "set OUT to another folder"

for item in $RUNS; do
  setting=${item%:*} seed=${item#*:}
  read_setting "$setting"
  updates=$UPDATES
  case $setting in
    baseline-time)
      updates=$(updates_in_time "$OUT/runs" baseline "$seed")
      go_on baseline "$seed" "$setting"
      ;;
    *-long)
      updates=$((2 * UPDATES))
      shorter=${setting%-long}
      further=$OUT/runs/baseline-time.$seed/updates
      if [[ $setting == baseline-long && -f $further ]] && (($(<"$further") <= updates)); then
        shorter=baseline-time
      fi
      go_on "$shorter" "$seed" "$setting"
      ;;
  esac
  variables+=("RUN=$setting.$seed" "SEED=$seed" "UPDATES=$updates")
  env "${variables[@]}" bash "$here/train.sh"
  env "${variables[@]}" bash "$here/evaluate.sh"
  python "$here/results.py" --runs "$OUT/runs" --main "$MAIN" --out "$OUT/results.tsv" >"$OUT/results.md.$$"
  mv "$OUT/results.md.$$" "$OUT/results.md"
done
cat "$OUT/results.md"
echo "results in $OUT/results.tsv and $OUT/results.md"
