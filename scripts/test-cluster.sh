#!/usr/bin/env bash
# The tests of tests/cluster, on the cluster that KUBECONFIG names. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${KUBECONFIG:-}" ]; then
  echo "NO CLUSTER: KUBECONFIG is not set, so nothing of tests/cluster ran. Name one: KUBECONFIG=... make test-cluster" >&2
  exit 0
fi
unset ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN ANTHROPIC_BASE_URL OPENAI_API_KEY OPENAI_BASE_URL GEMINI_API_KEY GOOGLE_API_KEY
unset PENSTOCK_SERVER PENSTOCK_DATA_DIR PENSTOCK_ADMIN_TOKEN
tests/chart/install.sh
# One after the other: they share the cluster's resource definitions, and look at the clock.
exec .venv/bin/pytest -p no:cacheprovider --timeout="${PENSTOCK_TEST_TIMEOUT:-1200}" tests/cluster "$@"
