#!/usr/bin/env bash
# Makes a virtual environment with rdrop_fairseq and everything that its tests and recipes
# need, at the versions of constraints.txt. Does nothing where that is done.
#
#   bash scripts/setup.sh && . .venv/bin/activate
#
# Settings (environment variables):
#   VENV    folder of the environment                      default: .venv in the checkout
#   PYTHON  a Python 3.11 or 3.12 to make it with          default: the first one found
set -euo pipefail

source "$(dirname "$0")/recipe/stages.sh"
no_arguments "$@"
VENV=${VENV:-$root/.venv}

is_supported() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

find_python() {
  local candidate candidates=(python3.11 python3.12 python3 python)
  [[ -z ${PYTHON:-} ]] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    if is_supported "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  echo "rdrop-fairseq needs Python 3.11 or 3.12 (fairseq has builds for no other)," \
    "found $("${PYTHON:-python3}" --version 2>&1 | head -n 1): set PYTHON=/path/to/python3.11" >&2
  return 1
}

# what the environment is made of: another one is made when this changes
stamp=$(cat "$root/constraints.txt" "$root/setup.py" | cksum)
if [[ -f $VENV/rdrop.stamp && $(<"$VENV/rdrop.stamp") == "$stamp $root" ]]; then
  exit 0
fi

python=$(find_python)
echo "Installing into $VENV with $("$python" --version)" >&2
"$python" -m venv "$VENV"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
  --constraint "$root/constraints.txt" --editable "${root}[recipes,test]"
echo "$stamp $root" >"$VENV/rdrop.stamp"
