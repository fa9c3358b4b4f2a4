#!/usr/bin/env bash
# All checks and all tests. Arguments go to pytest, which then runs only those tests.
set -euo pipefail
cd "$(dirname "$0")/.."
unset ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN ANTHROPIC_BASE_URL OPENAI_API_KEY OPENAI_BASE_URL GEMINI_API_KEY GOOGLE_API_KEY
unset PENSTOCK_SERVER PENSTOCK_DATA_DIR PENSTOCK_ADMIN_TOKEN KUBECONFIG
scripts/test-dependencies.sh
if [ $# -gt 0 ]; then exec .venv/bin/pytest "$@"; fi
scripts/check.sh
.venv/bin/pytest -n "${PENSTOCK_TEST_WORKERS:-4}" --dist loadgroup --no-loadscope-reorder tests
