#!/usr/bin/env bash
# Lint, types, import rules and generated files. Every check runs; the exit code is 1 when any of them failed.
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
failed=()
step() { # name, command...
  local name=$1; shift
  local out
  if out=$("$@" 2>&1); then echo "check: $name: ok"; else echo "check: $name: FAILED"; echo "$out"; failed+=("$name"); fi
}
stubs_match() {
  local fresh
  fresh=$(mktemp -d)
  scripts/generate-protos.sh "$fresh" >/dev/null 2>&1 && diff -r --exclude=__pycache__ --exclude=py.typed --exclude=pyproject.toml gen/penstock "$fresh/penstock" \
    || { echo "gen/ differs from protos/: run make protos and commit the result"; rm -rf "$fresh"; return 1; }
  rm -rf "$fresh"
}
locks_are_anonymous() {
  ! grep -rnIE --exclude-dir=node_modules --exclude-dir=.venv 'https?://[^ ]*(pypi|pythonhosted|npmjs|debian\.org)' requirements Makefile scripts services operator deploy charts tests/clients .ci 2>/dev/null | grep -v 'check.sh'
}
no_outside_paths() {
  ! git grep -nIE '\.\./shared|/work/' -- . ':!scripts/check.sh'
}
exemptions_say_why() {
  ! git grep -nE '# (noqa|type: ignore|pragma: no cover)' -- '*.py' ':!gen' | grep -vE '(noqa: [A-Z0-9, ]+|type: ignore\[[a-z, -]+\]|pragma: no cover) +(-{1,2}|#) .{8,}'
}
step "ruff lint" ruff check .
step "ruff format" ruff format --check .
step "mypy" mypy services operator
step "import rules" lint-imports
step "generated stubs" stubs_match
step "metrics page" python scripts/metrics_page.py --check
step "dashboards" python scripts/dashboards.py --check
step "chart's README and schema" python scripts/chart_docs.py --check
step "mutants fit the code" python tests/mutants/run.py --fit
step "exemptions say why" exemptions_say_why
step "no registry hosts" locks_are_anonymous
step "nothing outside the tree" no_outside_paths
if [ ${#failed[@]} -gt 0 ]; then echo "check: failed: ${failed[*]}"; exit 1; fi
