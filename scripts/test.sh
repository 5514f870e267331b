#!/usr/bin/env bash
# Runs every check of the project: ruff, shellcheck, pytest. Sets up .venv first if needed.
#
#   bash scripts/test.sh                          everything
#   bash scripts/test.sh tests/loss -k gradcheck  only these tests, as pytest takes them
#
# Settings (environment variables):
#   VENV, PYTHON  see scripts/setup.sh
#   WORKERS       processes that share the tests         default: 2
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$root/.venv}
WORKERS=${WORKERS:-2}

if [[ ${1:-} == --help || ${1:-} == -h ]]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
  exit 0
fi

bash "$root/scripts/setup.sh"
VENV=$(cd "$VENV" && pwd)
cd "$root"
export PATH="$VENV/bin:$PATH"
ruff check .
ruff format --check .
find . \( -name '*.sh' -o -name '*.sbatch' \) -not -path './.*' -print0 | xargs -0 shellcheck .ci/run
# the processes share the cores among them
export OMP_NUM_THREADS=1
# each takes its half of the tests in a row: what a file makes for its tests is made once
python -m pytest --numprocesses "$WORKERS" --dist worksteal "$@"
