#!/usr/bin/env bash
# Runs the checks of the project: ruff, shellcheck, mypy, pytest. Sets up .venv first if needed.
#
#   bash scripts/test.sh                          everything, as CI does
#   bash scripts/test.sh --quick                  before a commit: ruff, shellcheck, loss, criteria
#   bash scripts/test.sh --fuzz 10                the property tests with new examples, 10 minutes
#   bash scripts/test.sh tests/loss -k gradcheck  only these tests, as pytest takes them
#
# Settings (environment variables):
#   VENV, PYTHON    see scripts/setup.sh
#   WORKERS         processes that share the tests         default: 2
#   RDROP_TEST_FORK 0: start every program for real        default: 1 (tests/fork_server.py)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$root/.venv}
WORKERS=${WORKERS:-2}

case ${1:-} in
  -h | --help)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  --fuzz)
    [[ ${2:-} =~ ^[1-9][0-9]*$ && $# == 2 ]] || {
      echo "test: --fuzz needs a whole number of minutes, got '${*:2}'; see --help" >&2
      exit 1
    }
    ;;
esac

bash "$root/scripts/setup.sh"
VENV=$(cd "$VENV" && pwd)
cd "$root"
export PATH="$VENV/bin:$PATH"
# the processes share the cores among them
export OMP_NUM_THREADS=1

if [[ ${1:-} == --fuzz ]]; then
  end=$((SECONDS + 60 * $2)) rounds=0
  while ((SECONDS < end)); do
    fuzz=(python -m pytest -m hypothesis --hypothesis-profile fuzz --hypothesis-seed "$RANDOM$RANDOM")
    "${fuzz[@]}" -q || {
      echo "test: repeat it with: OMP_NUM_THREADS=1 ${fuzz[*]}" >&2
      exit 1
    }
    rounds=$((rounds + 1))
  done
  echo "test: no counterexample in $rounds rounds"
  exit 0
fi

ruff check .
ruff format --check .
find scripts tests examples \( -name '*.sh' -o -name '*.sbatch' \) -print0 | xargs -0 shellcheck .ci/run
if [[ ${1:-} == --quick ]]; then
  shift
  set -- tests/loss tests/criterions "$@"
else
  mypy
fi
# each takes its half of the tests in a row: what a file makes for its tests is made once
python -m pytest --numprocesses "$WORKERS" --dist worksteal --durations 15 "$@"
