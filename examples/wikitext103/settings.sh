# shellcheck shell=bash
# Sourced by prepare.sh, train.sh and evaluate.sh: what the three must agree on.
# The caller defines die MESSAGE, which ends the script.

SMALL=${SMALL:-0}
MODEL=${MODEL:-gpt}
CRITERION=${CRITERION:-rdrop}
SEED=${SEED:-1}
[[ $SMALL == [01] ]] || die "SMALL must be 0 or 1, got '$SMALL'"
[[ $MODEL == gpt || $MODEL == adaptive ]] || die "MODEL must be gpt or adaptive, got '$MODEL'"
[[ $CRITERION == rdrop || $CRITERION == baseline ]] ||
  die "CRITERION must be rdrop or baseline, got '$CRITERION'"
[[ $SEED =~ ^[0-9]+$ ]] || die "SEED must be a whole number, got '$SEED'"
if ((SMALL)); then
  OUT=${OUT:-$root/runs/austen_small}
else
  OUT=${OUT:-$root/runs/wikitext103}
fi
SAVE_DIR=${SAVE_DIR:-$OUT/$MODEL.$CRITERION.$SEED}
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
