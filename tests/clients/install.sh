#!/usr/bin/env bash
# Install the real clients that the tests drive, at exact versions, beside this file.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
for folder in typescript-*; do
  if [ ! -e "$folder/node_modules/.ready" ] || [ "$folder/package.json" -nt "$folder/node_modules/.ready" ]; then
    (cd "$folder" && npm install --silent --no-package-lock --no-audit --no-fund --ignore-scripts && touch node_modules/.ready)
  fi
done
if [ ! -e python-before/.venv/.ready ] || [ python-before/requirements.txt -nt python-before/.venv/.ready ]; then
  uv=$("$root/scripts/find-uv.sh")
  "$uv" venv --quiet --clear --python "$root/.venv/bin/python" python-before/.venv
  VIRTUAL_ENV="$PWD/python-before/.venv" "$uv" pip install --quiet --require-hashes -r python-before/requirements.txt
  touch python-before/.venv/.ready
fi
