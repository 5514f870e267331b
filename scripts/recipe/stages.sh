# shellcheck shell=bash disable=SC2153,SC2154  # the caller sets the variables
# Sourced by the scripts of every recipe: errors, help, and stages that can be run again.
#
# The caller sets root (the checkout) and recipe (its name, for errors).

export LC_ALL=C.UTF-8 # points in numbers, one order of sorting
export PYTHONWARNINGS=${PYTHONWARNINGS:-ignore} # fairseq's, of its own use of hydra and torch

die() {
  echo "${recipe:?}: $*" >&2
  exit 1
}

# usage: the caller's header comment
usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; }

# require_number NAME MINIMUM: the variable NAME holds a whole number of at least MINIMUM
require_number() {
  if ! [[ ${!1} =~ ^(0|[1-9][0-9]{0,8})$ && ${!1} -ge $2 ]]; then
    die "$1 must be a whole number of at least $2, got '${!1}'"
  fi
}

# require_program NAME...
require_program() {
  local name
  for name in "$@"; do
    command -v "$name" >/dev/null ||
      die "$name is not on PATH: run '. .venv/bin/activate' (scripts/setup.sh makes it)"
  done
}

# keep_settings FILE SETTINGS REMEDY: what FILE says of an earlier run must be SETTINGS;
# REMEDY is what the user can do otherwise
keep_settings() {
  local file=$1 now=$2 remedy=$3 changes apart='s/ \(--\|[A-Za-z_]*=\)/\n\1/g'
  if [[ -f $file ]]; then
    changes=$(diff <(sed "$apart" "$file") <(sed "$apart" <<<"$now") | grep '^[<>]' | tr '\n' ' ') || true
    [[ -z $changes ]] ||
      die "$(dirname "$file") was made with other settings (< then, > now): ${changes% }; $remedy"
  fi
  write_line "$file" "$now"
}

# keep_settings_of PRODUCT FILE SETTINGS REMEDY: the same, if PRODUCT is there, which is made
# with the settings; before that, they may change
keep_settings_of() {
  if [[ -e $1 ]]; then
    keep_settings "${@:2}"
  else
    write_line "$2" "$3"
  fi
}

# write_line FILE LINE: whole or not at all, though other machines may write it, too
write_line() {
  mkdir -p "$(dirname "$1")"
  echo "$2" >"$1.tmp.$HOSTNAME.$$"
  mv "$1.tmp.$HOSTNAME.$$" "$1"
}

# uses_moses: prepare.sh of a translation recipe was given BPE=moses
uses_moses() { grep -qs bpe=moses "$OUT/pieces.settings"; }

# is_trained RUN UPDATES: RUN has had as many updates. fairseq-train does not see that: started
# again after its last update, it does one more
is_trained() {
  [[ -f $1/updates ]] && (($(<"$1/updates") >= $2)) || return 1
  echo "$1 is trained already, $(<"$1/updates") updates"
}

# mark_trained RUN: RUN has had as many updates as fairseq-train says, in RUN/train.log, that it
# stopped after. It may have stopped for another reason (--patience, --stop-time-hours)
mark_trained() {
  local updates
  updates=$(sed -n 's/.*Stopping training due to num_updates: \([0-9]*\) >= .*/\1/p' "$1/train.log" | tail -n 1)
  if [[ -z $updates ]]; then
    echo "note: fairseq-train has stopped before the last update; running this again goes on"
    return
  fi
  write_line "$1/updates" "$updates"
}

# link TARGET NAME: NAME leads to the folder TARGET, unless it is there already
link() {
  [[ -e $2 ]] || ln -sfn "$(cd "$1" && pwd)" "$2"
}

# preprocess FOLDER LOG ARGUMENT...: fairseq-preprocess into FOLDER, of which nothing is left if it fails
preprocess() {
  local folder=$1 log=$2
  shift 2
  rm -rf "$folder"
  fairseq-preprocess --destdir "$folder" "$@" >"$log" 2>&1 || {
    rm -rf "$folder"
    tail -n 1 "$log" >&2
    die "fairseq-preprocess failed: its last line is above, all in $log"
  }
}

# stage HEADLINE PRODUCT COMMAND...: run a command unless PRODUCT, which it makes by renaming
# what is complete, is there
stage() {
  local headline=$1 product=$2
  shift 2
  if [[ -e $product ]]; then
    echo "== $headline: done already"
  else
    echo "== $headline"
    "$@"
  fi
}
