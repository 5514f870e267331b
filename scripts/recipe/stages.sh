# shellcheck shell=bash disable=SC2034  # some of it is for the scripts that source this
# Sourced by the scripts of every recipe, with their arguments, before anything else: answers
# --help; then errors, checks of settings, and stages that can be run again.
#
# Sets root (the checkout), here (the folder of the script) and recipe (its name, for errors).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$(cd "$(dirname "$0")" && pwd)
recipe=$here/$(basename "$0" .sh)
recipe=${recipe#"$root"/*/}

export LC_ALL=C.UTF-8 # points in numbers, one order of sorting
export PYTHONWARNINGS=${PYTHONWARNINGS:-ignore} # fairseq's, of its own use of hydra and torch

for argument in "$@"; do
  if [[ $argument == -h || $argument == --help ]]; then
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" # the header comment
    exit 0
  fi
done

die() {
  echo "$recipe: $*" >&2
  exit 1
}

# no_arguments "$@"
no_arguments() { (($# == 0)) || die "takes no arguments, got $*; see --help"; }

# at_most_one_checkpoint "$@"
at_most_one_checkpoint() {
  [[ ${1:-} != -* ]] || die "unknown option $1; see --help"
  (($# <= 1)) || die "expected at most one CHECKPOINT, got $# arguments; see --help"
}

# small_and_name WHAT [--small] [NAME]: sets small, true or false, and name, empty if there is none.
# There may be one WHAT
small_and_name() {
  local what=$1
  shift
  small=false name=
  while (($#)); do
    case $1 in
      --small) small=true ;;
      -*) die "unknown argument $1; see --help" ;;
      *)
        [[ -z $name ]] || die "one $what at a time, got $name and $1"
        name=$1
        ;;
    esac
    shift
  done
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

# require_decimal NAME: the variable NAME holds a number of at least 0
require_decimal() {
  [[ ${!1} =~ ^[0-9]*\.?[0-9]+$ ]] || die "$1 must be a number >= 0, got '${!1}'"
}

# require_number NAME MINIMUM: the variable NAME holds a whole number of at least MINIMUM
require_number() {
  if ! [[ ${!1} =~ ^(0|[1-9][0-9]{0,8})$ && ${!1} -ge $2 ]]; then
    die "$1 must be a whole number of at least $2, got '${!1}'"
  fi
}

# require_positive NAME...: the variables hold whole numbers of at least 1
require_positive() {
  local name
  for name in "$@"; do
    require_number "$name" 1
  done
}

# require_numbers NAME: the variable NAME holds whole numbers, separated by spaces
require_numbers() {
  local number
  for number in ${!1}; do
    [[ $number =~ ^[0-9]+$ ]] || die "$1 must be whole numbers, got '$number'"
  done
}

# require_program NAME...
require_program() {
  local name
  for name in "$@"; do
    command -v "$name" >/dev/null ||
      die "$name is not on PATH: run '. .venv/bin/activate' (scripts/setup.sh makes it)"
  done
}

# keep_memory: glibc gives large blocks back to the system and gets them anew, page by page, at
# every update; to keep them makes updates on a CPU faster (rdrop_fairseq/loss/README.md, Cost)
keep_memory() {
  export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=67108864
}

# log_format: fairseq's --log-format for a training that is watched. The bar goes to stderr
log_format() { [[ -t 2 ]] && echo tqdm || echo simple; }

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

# keep_settings_of FILE SETTINGS REMEDY PRODUCT...: the same, if a PRODUCT is there, which is made
# with the settings or follows from what is; before that, they may change
keep_settings_of() {
  local product
  for product in "${@:4}"; do
    if [[ -e $product ]]; then
      keep_settings "${@:1:3}"
      return
    fi
  done
  write_line "$1" "$2"
}

# write_line FILE LINE: whole or not at all, though other machines may write it, too
write_line() {
  mkdir -p "$(dirname "$1")"
  echo "$2" >"$1.tmp.$HOSTNAME.$$"
  mv "$1.tmp.$HOSTNAME.$$" "$1"
}

# uses_moses: prepare.sh of a translation recipe was given BPE=moses
uses_moses() { grep -qs bpe=moses "$OUT/pieces.settings"; }

# is_trained RUN UPDATES: RUN has had as many updates, or has ended before as it was told to
# (--max-epoch, --patience, --stop-time-hours). fairseq-train does not see that: started again after its
# last update, it does one more. Nor was it noted where a signal ended the script and not its training
is_trained() {
  [[ -f $1/updates || ! -f $1/train.log ]] || (($(updates_at_end "$1") < $2)) || mark_trained "$@"
  [[ -f $1/updates ]] && { [[ -f $1/ended_early ]] || (($(<"$1/updates") >= $2)); } || return 1
  echo "$1 is trained already, $(<"$1/updates") updates (to train anew, remove that folder)"
}

# updates_at_end RUN: how many updates it has had, by RUN/train.log, if its last training has come to its
# end; else 0
updates_at_end() {
  awk '/ \| fairseq_cli\.train \| task: / { ended = 0 }
    match($0, / @ [0-9]+ updates/) { updates = substr($0, RSTART + 3, RLENGTH - 11) }
    / \| fairseq_cli\.train \| done training in / { ended = 1 }
    END { print ended ? updates + 0 : 0 }' "$1/train.log"
}

# mark_trained RUN UPDATES: notes in RUN/updates that it has come to its end, after UPDATES or before
mark_trained() {
  local updates
  updates=$(updates_at_end "$1")
  if ((!updates)); then
    echo "note: fairseq-train has stopped before the last update; running this again goes on"
    return
  fi
  if ((updates < $2)); then
    echo "note: fairseq-train has ended after $updates updates of $2, as TRAIN_ARGS told it to"
    : >"$1/ended_early"
  fi
  write_line "$1/updates" "$updates"
}

# forget_optimizer RUN: a run that has had its last update keeps its best checkpoint, without the
# optimizer's state, and not the last one: a sixth of the disk, a tenth if trained in half precision.
# Of several machines, machine 0 does it
forget_optimizer() {
  [[ -f $1/updates && -f $1/checkpoint_last.pt && ${NODE_RANK:-0} == 0 ]] || return 0
  python "$root/scripts/recipe/change_checkpoint.py" --forget-optimizer "$1/checkpoint_best.pt"
  rm "$1/checkpoint_last.pt"
}

# check_runs: RUNS is a list of SETTING:SEED, and MAIN a setting of R-Drop. Before the first is
# trained; read_setting, the caller's, knows the settings
check_runs() {
  local item
  [[ $MAIN == alpha* ]] || die "MAIN must be a setting of R-Drop, got $MAIN"
  read_setting "$MAIN"
  for item in $RUNS; do
    [[ $item =~ ^[^:]+:[0-9]+$ ]] || die "RUNS is a list of SETTING:SEED, got $item"
    read_setting "${item%:*}"
  done
}

# record_seconds FILE COMMAND...: runs it, and adds a line to FILE: its seconds of user and of
# system time, "unknown" if this script is killed. A signal ends the command, not this script, so that
# the time is recorded all the same; fails if the command does or there was a signal
record_seconds() {
  local file=$1 failed=0 seconds TIMEFORMAT='%U %S'
  shift
  trap 'failed=1' INT TERM
  echo unknown >>"$file"
  { time "$@" 2>&3; } 3>&2 2>"$file.time" || failed=1
  trap - INT TERM
  seconds=$(grep -E '^[0-9.]+ [0-9.]+$' "$file.time") || seconds=unknown
  sed -i "\$s/.*/$seconds/" "$file"
  rm "$file.time"
  ((!failed))
}

# recorded_seconds FILE: their sum. Dies if one is not known
recorded_seconds() {
  ! grep -q unknown "$1" ||
    die "the time of $(dirname "$1") is not known, since it was interrupted: remove it, and run this again"
  awk '{ sum += $1 + $2 } END { printf "%.3f", sum }' "$1"
}

# seconds_in_one_go RUN: what its training has taken. Dies if it was interrupted: that is then also the
# time of updates made twice, and of a second start
seconds_in_one_go() {
  local seconds
  [[ -f $1/cpu_seconds ]] || die "$1 has no cpu_seconds: remove it, and let the study train it"
  seconds=$(recorded_seconds "$1/cpu_seconds") || return # which set -e does not see in $(...)
  (($(wc -l <"$1/cpu_seconds") == 1)) ||
    die "$1 was interrupted, and its time is also that of updates made twice: remove it, and run this again"
  echo "$seconds"
}

# updates_in_time RUNS_FOLDER SETTING SEED: how many updates of that run take as long as all of the one
# of MAIN with the same seed. Dies unless both are there, each trained in one go
updates_in_time() {
  local name time own
  for name in "$2" "$MAIN"; do
    [[ -f $1/$name.$3/updates ]] || die "$2-time:$3 needs $name:$3 earlier in RUNS"
  done
  time=$(seconds_in_one_go "$1/$MAIN.$3") || return
  own=$(seconds_in_one_go "$1/$2.$3") || return
  updates_in "$time" "$(<"$1/$2.$3/updates")" "$own"
}

# updates_in SECONDS UPDATES OWN: how many updates take SECONDS where UPDATES took OWN
updates_in() {
  awk -v seconds="$1" -v updates="$2" -v own="$3" 'BEGIN { printf "%.0f\n", updates * seconds / own }'
}

# link TARGET NAME: NAME leads to the folder TARGET, unless it is a folder itself
link() {
  [[ -d $2 && ! -L $2 ]] || ln -sfn "$(cd "$1" && pwd)" "$2"
}

# checksum [FILE...]: one of them all, or of what it is given to read
checksum() { cat "$@" | cksum | tr ' ' '-'; }

# preprocess FOLDER LOG ARGUMENT...: fairseq-preprocess into FOLDER, whole or not at all
preprocess() {
  local folder=$1 log=$2
  shift 2
  rm -rf "$folder" "$folder.tmp" # mv would put the new one into an old one
  fairseq-preprocess --destdir "$folder.tmp" "$@" >"$log" 2>&1 || {
    rm -rf "$folder.tmp"
    tail -n 1 "$log" >&2
    die "fairseq-preprocess failed: its last line is above, all in $log"
  }
  mv "$folder.tmp" "$folder"
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
