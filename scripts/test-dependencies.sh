#!/usr/bin/env bash
# Install what the tests start beside our own processes: Debian's packages as root, the clients' packages from their registries.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
command -v redis-server >/dev/null 2>&1 || missing+=(redis-server)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
command -v prometheus >/dev/null 2>&1 || missing+=(prometheus)
command -v shellcheck >/dev/null 2>&1 || missing+=(shellcheck)
command -v curl >/dev/null 2>&1 || missing+=(curl)
command -v node >/dev/null 2>&1 || missing+=(nodejs)
command -v npm >/dev/null 2>&1 || missing+=(npm)
# For the modules that are compiled: a compiler, and the headers of the Python that .venv is made of.
command -v cc >/dev/null 2>&1 || missing+=(gcc libc6-dev)
[ -f "$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] || missing+=(python3-dev)
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "tests: installing ${missing[*]}" >&2
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } >/tmp/penstock-apt.log 2>&1 \
      || { cat /tmp/penstock-apt.log >&2; exit 1; }
    # Debian starts what it installs; the tests start their own on free ports.
    service redis-server stop >/dev/null 2>&1 || true
    service prometheus stop >/dev/null 2>&1 || true
    service postgresql stop >/dev/null 2>&1 || true
  else
    echo "The tests need: ${missing[*]}. Run: sudo apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi
# The image's tests run as root or not at all; without these they are skipped, and say so.
image=()
command -v podman >/dev/null 2>&1 || image+=(podman runc)
command -v mmdebstrap >/dev/null 2>&1 || image+=(mmdebstrap)
if [ ${#image[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "tests: installing ${image[*]}" >&2
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${image[@]}"; } >/tmp/penstock-apt-image.log 2>&1 \
    || { tail -5 /tmp/penstock-apt-image.log >&2; echo "tests: NO IMAGE WILL BE TESTED: ${image[*]} cannot be installed" >&2; }
fi
if [ -d tests/clients ]; then tests/clients/install.sh; fi
tests/chart/install.sh
