#!/usr/bin/env bash
# Lock every image's dependencies, and the development set, with hashes and without naming any host.
set -euo pipefail
cd "$(dirname "$0")/.."
UV=${UV:-uv}
OURS=(protos catalog routing chassis edge auth router status simulator cli operator)
OMIT=()
for name in "${OURS[@]}"; do OMIT+=(--no-emit-package "penstock-$name"); done
lock() { # output, inputs...
  local out=$1; shift
  "$UV" pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header \
    --no-annotate "${OMIT[@]}" "$@" -o "requirements/$out.txt"
}
for image in edge auth router status simulator cli; do lock "$image" "services/$image/pyproject.toml"; done
lock operator operator/pyproject.toml
lock dev requirements/dev.in gen/pyproject.toml operator/pyproject.toml services/*/pyproject.toml services/lib/*/pyproject.toml
# The image holds all processes, in the very versions that are tested.
lock image --constraint requirements/dev.txt gen/pyproject.toml operator/pyproject.toml services/*/pyproject.toml services/lib/*/pyproject.toml
lock image-installer requirements/image-installer.in
lock image-build requirements/image-build.in
# What compiles is what the tests compile with.
lock image-compile --constraint requirements/dev.txt requirements/image-compile.in
"$UV" pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate \
  tests/clients/python-before/requirements.in -o tests/clients/python-before/requirements.txt
