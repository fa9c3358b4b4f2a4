#!/usr/bin/env bash
# Print the Python to measure with (see quickest.py): that of .venv, or of a venv with the same in it, made here when it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
quickest=$(.venv/bin/python benchmarks/quickest.py)
if [ "$quickest" = "$(readlink -f .venv/bin/python)" ]; then
  echo "$PWD/.venv/bin/python"
  exit 0
fi
venv=benchmarks/.tools/$(basename "$quickest")
make --no-print-directory setup VENV="$venv" PYTHON="$quickest" >&2
echo "$PWD/$venv/bin/python"
