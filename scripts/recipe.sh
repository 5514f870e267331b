# shellcheck shell=bash
# Sourced by the scripts of the recipes in examples/: what all of them need.
# The caller defines die MESSAGE, which ends the script.

# keep_settings FOLDER TEXT: dies if what lies in FOLDER was made with other settings
keep_settings() {
  mkdir -p "$1"
  if [[ -f $1/settings && $(<"$1/settings") != "$2" ]]; then
    die "$1 was made with '$(<"$1/settings")', not '$2': write to another folder, or remove it"
  fi
  echo "$2" >"$1/settings"
}

# need PROGRAM: dies if it cannot be found
need() {
  command -v "$1" >/dev/null ||
    die "$1 is not on PATH: run '. .venv/bin/activate' (scripts/setup.sh makes it)"
}

# link TARGET NAME: NAME leads to the folder TARGET, unless it is there already
link() {
  [[ -e $2 ]] || ln -sfn "$(cd "$1" && pwd)" "$2"
}
