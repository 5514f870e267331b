# shellcheck shell=bash
# Sourced by prepare.sh, train.sh and evaluate.sh: what the three must agree on.
# The caller defines die MESSAGE, which ends the script.

DATASET=${DATASET:-cnn_dm}
SMALL=${SMALL:-0}
CRITERION=${CRITERION:-rdrop}
[[ $DATASET == cnn_dm || $DATASET == xsum ]] || die "DATASET must be cnn_dm or xsum, got '$DATASET'"
[[ $SMALL == [01] ]] || die "SMALL must be 0 or 1, got '$SMALL'"
[[ $CRITERION == rdrop || $CRITERION == baseline ]] ||
  die "CRITERION must be rdrop or baseline, got '$CRITERION'"
if ((SMALL)); then
  OUT=${OUT:-$root/runs/summaries_small}
else
  OUT=${OUT:-$root/runs/$DATASET}
fi
export PYTHONWARNINGS=ignore

# keep_settings FOLDER TEXT: dies if what lies in FOLDER was made with other settings
keep_settings() {
  mkdir -p "$1"
  if [[ -f $1/settings && $(<"$1/settings") != "$2" ]]; then
    die "$1 was made with '$(<"$1/settings")', not '$2': set another OUT, or remove it"
  fi
  echo "$2" >"$1/settings"
}

# need PROGRAM: dies if it cannot be found
need() {
  command -v "$1" >/dev/null ||
    die "$1 is not on PATH: run '. .venv/bin/activate' (scripts/setup.sh makes it)"
}
