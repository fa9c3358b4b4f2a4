#!/usr/bin/env bash
# Make a venv: the locked dependencies by hash, then the packages of this tree, editable.
# Told by the environment: VENV (where; .venv), PYTHON (of what; the first that is new enough on PATH).
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(scripts/find-uv.sh)
venv=${VENV:-.venv}
python=""
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
  if command -v "$candidate" >/dev/null 2>&1 &&
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$(command -v "$candidate")
    break
  fi
done
if [ -z "$python" ]; then
  echo "Python 3.11 or newer is needed and none was found${PYTHON:+: $PYTHON is none}. On Debian or Ubuntu: apt-get install python3" >&2
  exit 1
fi
echo "set-up: making $venv with $("$python" --version)" >&2
[ -x "$venv/bin/python" ] || "$uv" venv --quiet --python "$python" "$venv"
export VIRTUAL_ENV=$PWD/$venv
"$uv" pip install --quiet --require-hashes -r requirements/dev.txt
editable=()
for package in "$@"; do editable+=(-e "$package"); done
"$uv" pip install --quiet --no-deps --no-build-isolation "${editable[@]}"
touch "$venv/.ready"
echo "set-up: done" >&2
