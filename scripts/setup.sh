#!/usr/bin/env bash
# Makes a virtual environment with rdrop_fairseq and everything that its tests and recipes
# need, at the versions of constraints.txt. Does nothing where that is done.
#
#   bash scripts/setup.sh && . .venv/bin/activate
#
# Python 3.11 or 3.12 is taken if there is one, else what uv installs (uv venv --python 3.12), else
# Python 3.13, for which fairseq is compiled: about two minutes, with g++.
#
# Settings (environment variables):
#   VENV    folder of the environment                          default: .venv in the checkout
#   PYTHON  a Python 3.11, 3.12 or 3.13 to make it with        default: the first one found
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
case "$*" in
  '') ;;
  -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" && exit ;;
  *) echo "setup: takes no arguments, got $*; see --help" >&2 && exit 1 ;;
esac
die() {
  echo "setup: $*" >&2
  exit 1
}
VENV=${VENV:-$root/.venv}
compile=false
compiled=fairseq-fixed==0.12.3.1 # fairseq's main branch of 2024, as source; there is no wheel for 3.13

# first_of VERSION...: the first Python that is of one of these versions
first_of() {
  local version candidate candidates=()
  for version in "$@"; do
    candidates+=("python$version")
  done
  candidates+=(python3 python)
  [[ -z ${PYTHON:-} ]] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    for version in "$@"; do
      if [[ $("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) == "$version" ]]; then
        echo "$candidate"
        return
      fi
    done
  done
  return 1
}

make_environment() {
  local python
  if python=$(first_of 3.11 3.12); then
    echo "Installing into $VENV with $("$python" --version)" >&2
    "$python" -m venv "$VENV"
  elif [[ -z ${PYTHON:-} ]] && command -v uv >/dev/null &&
    uv venv --quiet --allow-existing --python 3.12 --seed "$VENV"; then
    echo "Installing into $VENV with $("$VENV/bin/python" --version) of uv" >&2
  elif python=$(first_of 3.13); then
    can_compile "$python"
    echo "Installing into $VENV with $("$python" --version): fairseq is compiled," \
      "which takes about two minutes" >&2
    "$python" -m venv "$VENV"
    compile=true
  else
    die "needs Python 3.11, 3.12 or 3.13, found $("${PYTHON:-python3}" --version 2>&1 | head -n 1):" \
      "set PYTHON=/path/to/python3.11, or install uv, which brings its own (pip install uv). With a" \
      "fairseq of your own, on Python 3.10, see 'Install' in rdrop_fairseq/README.md"
  fi
}

# can_compile PYTHON: die unless there are a compiler and Python's headers
can_compile() {
  local missing=
  "$1" -c 'import os, sysconfig
raise SystemExit(not os.path.isfile(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
    missing="the headers of $1 (python3-dev)"
  command -v "${CXX:-g++}" >/dev/null || missing="a C++ compiler (g++)"
  [[ -z $missing ]] ||
    die "there are wheels of fairseq for Python 3.11 and 3.12 only; to compile it for $("$1" --version)" \
      "$missing is missing: install that, or Python 3.11 or 3.12, or uv, which brings its own" \
      "(pip install uv); then run this again"
}

install() {
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    --constraint "$root/constraints.txt" "$@"
}

# It is compiled against the torch and numpy that it will run with, hence without isolation; without
# its dependencies, for it asks for older hydra-core and omegaconf, and for torchaudio, which only
# speech needs; without CUDA's extensions, which no wheel of fairseq has either.
compile_fairseq() {
  install --no-warn-conflicts --editable "${root}[recipes,test]" bitarray cffi Cython hydra-core \
    numpy omegaconf packaging regex scikit-learn setuptools torch tqdm
  (unset CUDA_HOME && install --no-build-isolation --no-deps "$compiled")
}

# what the environment is made of: another one is made when this changes
stamp=$(cat "$root/constraints.txt" "$root/setup.py" | cksum)
if [[ -f $VENV/rdrop.stamp && $(<"$VENV/rdrop.stamp") == "$stamp $root" ]]; then
  exit 0
fi

make_environment
if $compile; then
  compile_fairseq
else
  install --editable "${root}[recipes,test]"
fi
# what pip would do on one core; some packages hold files of Python 2
"$VENV/bin/python" -m compileall -q -j 0 "$VENV"/lib >/dev/null || true
echo "$stamp $root" >"$VENV/rdrop.stamp"
