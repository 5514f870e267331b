# shellcheck shell=bash disable=SC2034  # some of it is for the scripts that source this
# Sourced by the scripts of every recipe, with their arguments, before anything else: --help, errors,
# and the arguments that all of them take. What is no setting goes on to the last command.
#
# Sets root (the checkout), here (the script's folder), names (arguments before the first flag), small
# (--small, or nothing), dry (--dry-run, or nothing) and flags (all other arguments).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
here=$(cd "$(dirname "$0")" && pwd)

export LC_ALL=C.UTF-8 # points in numbers, one order of sorting
export PYTHONWARNINGS=${PYTHONWARNINGS:-ignore} # fairseq's, of its own use of hydra and torch

die() {
  echo "$(basename "$here")/$(basename "$0"): $*" >&2
  exit 1
}

# no_flags: nothing is passed on
no_flags() { ((!${#flags[@]})) || die "unknown argument ${flags[0]}; see --help"; }

# start COMMAND...: with --dry-run it is only printed
start() {
  if ((${#dry[@]})); then
    rdrop run --dry-run --folder . -- "$@"
  else
    "$@"
  fi
}

# require_choice NAME VALUE...: the variable NAME has one of the values
require_choice() {
  local name=$1 value expected
  shift
  for value in "$@"; do
    [[ ${!name} != "$value" ]] || return 0
  done
  printf -v expected '%s or ' "$@"
  die "$name must be ${expected% or }, got '${!name}'"
}

names=() flags=() small=() dry=()
for argument in "$@"; do
  case $argument in
    -h | --help)
      sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" # the header comment
      exit 0
      ;;
    --small) small=(--small) ;;
    --dry-run) dry=(--dry-run) ;;
    *)
      if [[ $argument == -* ]] || ((${#flags[@]})); then
        flags+=("$argument")
      else
        names+=("$argument")
      fi
      ;;
  esac
done
command -v rdrop >/dev/null || die "rdrop is not on PATH: run '. .venv/bin/activate' (scripts/setup.sh makes it)"
