#!/usr/bin/env bash
# Remove the cluster that up.sh made, with everything in it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/settings.sh"

need kind
find_engine
if there; then
  say "removing cluster $cluster"
  kind delete cluster --name "$cluster"
else
  say "there is no cluster $cluster"
fi
