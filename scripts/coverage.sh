#!/usr/bin/env bash
# How much of the code the tests without processes of their own go through; a file must not fall far behind the others.
set -euo pipefail
cd "$(dirname "$0")/.."
unset ANTHROPIC_API_KEY OPENAI_API_KEY GEMINI_API_KEY GOOGLE_API_KEY KUBECONFIG
scripts/test-dependencies.sh
.venv/bin/coverage erase
.venv/bin/pytest -n "${PENSTOCK_TEST_WORKERS:-3}" --dist loadgroup --cov --cov-report= tests/unit tests/contract tests/operator
.venv/bin/coverage report --skip-covered --fail-under=90
