#!/usr/bin/env bash
# Make a base for the image out of Debian's packages, where no registry can be reached: Python and the authorities that
# Debian believes, nothing else. The first argument is the image's name, such as localhost/penstock-base:debian.
# The packages come from where this machine's apt gets its own; the result is kept in .images/ and imported from there.
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1
kept=${2:-.images/debian-base.tar}
missing=()
for program in mmdebstrap podman; do command -v "$program" >/dev/null 2>&1 || missing+=("$program"); done
if [ ${#missing[@]} -gt 0 ]; then
  echo "debian-base: ${missing[*]} is missing. Run: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
if [ ! -s "$kept" ]; then
  mkdir -p "$(dirname "$kept")"
  sources=(/etc/apt/sources.list /etc/apt/sources.list.d/debian.sources)
  given=()
  for file in "${sources[@]}"; do [ ! -s "$file" ] || given+=("$file"); done
  part=$(mktemp "$kept.XXXXXX")
  trap 'rm -f "$part"' EXIT
  # libstdc++6 is for gRPC, python3-venv for the build alone. Documents and translations are nobody's use in a container.
  mmdebstrap --quiet --format=tar --variant=essential --include=python3,python3-venv,libstdc++6,ca-certificates \
    --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    "" "$part" "${given[@]}" >&2
  mv "$part" "$kept"
  trap - EXIT
fi
podman import --quiet "$kept" "$name"
