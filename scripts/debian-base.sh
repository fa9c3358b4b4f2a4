#!/usr/bin/env bash
# Make a base for the image out of Debian's packages, where no registry can be reached: Python with its headers and the
# authorities that Debian believes, nothing else. The first argument is the image's name, such as localhost/penstock-base:debian.
# The packages come from where this machine's apt gets its own; the result is kept in .images/ and imported from there.
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1
kept=${2:-.images/debian-python.tar}
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
  # The package of the headers would bring a C library to compile with; the image's build has its own.
  # shellcheck disable=SC2016 # mmdebstrap's shell expands it
  headers='set -eu
    cd "$1/tmp"
    APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -qq download "lib$(readlink "$1/usr/bin/python3")-dev"
    dpkg-deb --fsys-tarfile ./*.deb | tar --extract --directory "$1" --wildcards "./usr/include/*"
    rm ./*.deb'
  # libstdc++6 is for gRPC, python3-venv for the build alone. Documents and translations are nobody's use in a container.
  mmdebstrap --quiet --format=tar --variant=essential --include=python3,python3-venv,libstdc++6,ca-certificates \
    --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="$headers" "" "$part" "${given[@]}" >&2
  mv "$part" "$kept"
  trap - EXIT
fi
podman import --quiet "$kept" "$name"
