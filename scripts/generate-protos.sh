#!/usr/bin/env bash
# Generate messages, stubs and their types from protos/ into the folder named by the first argument.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$1
export PATH="$PWD/.venv/bin:$PATH"
mkdir -p "$out"
python -m grpc_tools.protoc -I protos --python_out="$out" --grpc_python_out="$out" --mypy_out="$out" --mypy_grpc_out="$out" \
  $(find protos -name '*.proto' | sort)
