#!/usr/bin/env bash
# Print the path of a uv: the one on PATH, else one in the private venv .uv, which is made when it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
if command -v uv >/dev/null 2>&1; then command -v uv; exit 0; fi
if [ -x .uv/bin/uv ]; then echo "$PWD/.uv/bin/uv"; exit 0; fi
python=""
for candidate in python3 python3.13 python3.12 python3.11; do
  if command -v "$candidate" >/dev/null 2>&1 &&
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "Python 3.11 or newer is needed and none was found on PATH. On Debian or Ubuntu: apt-get install python3" >&2
  exit 1
fi
rm -rf .uv
if ! "$python" -m venv .uv >/dev/null 2>&1; then
  rm -rf .uv
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv; } >&2
    "$python" -m venv .uv >&2
  else
    echo "Python's venv module lacks pip here. Run: sudo apt-get install python3-venv   and then this again." >&2
    exit 1
  fi
fi
.uv/bin/python -m pip install --quiet --disable-pip-version-check uv >&2
echo "$PWD/.uv/bin/uv"
