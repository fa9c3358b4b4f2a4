#!/usr/bin/env bash
# Build the image of all processes with buildah, podman or docker, whichever is there, and put its list of parts into dist/.
# Told by the environment: IMAGE and TAG (its name), BASE_IMAGE and BASE_DIGEST (what it stands on), COMPILED (0: the
# sources alone), COMPILER_IMAGE (what compiles; empty: the base), BUILDER, BUILD_NETWORK.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { echo "images: $*" >&2; }
die() { say "$*"; exit 1; }

find_builder() {
  local name
  for name in ${BUILDER:-buildah podman docker}; do
    command -v "$name" >/dev/null 2>&1 || continue
    if [ "$name" != docker ] || docker info >/dev/null 2>&1; then echo "$name"; return; fi
  done
  die "nothing that builds images was found${BUILDER:+ (BUILDER=$BUILDER)}. On Debian or Ubuntu: sudo apt-get install --no-install-recommends podman runc   (buildah, or docker with a running daemon, will do too)"
}
builder=$(find_builder)

version=$(sed -nE 's/^version = "(.*)"/\1/p' services/edge/pyproject.toml)
name=${IMAGE:-penstock}:${TAG:-$version}
[ "$builder" = docker ] || [[ $name == */* ]] || name=localhost/$name
base=${BASE_IMAGE:-python:3.13-slim}
# The same Debian with the same Python, and gcc. What goes with another base is not known here.
compiler=${COMPILER_IMAGE-$([ -n "${BASE_IMAGE:-}" ] || echo python:3.13)}
[ "${COMPILED:-1}" != 0 ] || compiler=

digest_of() { # the digest of an image that is on this machine; nothing where it has none
  case $builder in
    buildah) buildah inspect --type image --format '{{.FromImageDigest}}' "$1" 2>/dev/null || true ;;
    podman) podman image inspect --format '{{.Digest}}' "$1" 2>/dev/null || true ;;
    docker) docker image inspect --format '{{range .RepoDigests}}{{.}}{{"\n"}}{{end}}' "$1" 2>/dev/null | sed -nE '1s/.*@//p' || true ;;
  esac
}

is_here() { # whether an image is on this machine
  case $builder in
    buildah) buildah inspect --type image "$1" >/dev/null 2>&1 ;;
    *) "$builder" image inspect "$1" >/dev/null 2>&1 ;;
  esac
}

fetch() { # fetch an image, unless it is this machine's own; $2: what to do where it cannot be had
  [[ $1 == localhost/* ]] || "$builder" pull -q "$1" >/dev/null || is_here "$1" || die "$1 cannot be pulled; $2"
}

# A tag moves. What is built stands on one digest: the one that was asked for, else the one that the tag has now.
digest=${BASE_DIGEST:-}
if [ -z "$digest" ] && [[ $base != *@sha256:* ]]; then
  fetch "$base" "BASE_IMAGE names another base, such as one that scripts/debian-base.sh makes"
  digest=$(digest_of "$base")
  say "BASE_DIGEST is not given; $base is ${digest:-without a digest} now"
fi
if [ -n "$compiler" ] && [[ $compiler != *@sha256:* ]]; then
  fetch "$compiler" "COMPILER_IMAGE names another image to compile in; where it is empty the base compiles, which makes a slower edge"
  found=$(digest_of "$compiler")
  say "$compiler compiles; it is ${found:-without a digest} now"
  compiler+=${found:+@$found}
elif [ -z "$compiler" ] && [ "${COMPILED:-1}" != 0 ]; then
  say "the base compiles; where it has no gcc, COMPILER_IMAGE=... of the same Debian and Python that has makes a faster edge"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
scripts/build_secrets.py "$work"

# In some virtual machines not even root may raise limits as far as the builders want to.
if [ "$(id -u)" = 0 ] && ! (ulimit -n 1048576) 2>/dev/null && [ -z "${CONTAINERS_CONF:-}" ]; then
  printf '[containers]\ndefault_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]\n' >"$work/containers.conf"
  export CONTAINERS_CONF=$work/containers.conf
fi

# The same commit gives the same labels; what is not committed is said.
revision=$(git rev-parse HEAD 2>/dev/null || true)
[ -z "$revision" ] || git diff --quiet HEAD -- gen operator services deploy requirements scripts/compiled.py scripts/training.py 2>/dev/null || revision+=-modified
created=$(git log -1 --format=%cI 2>/dev/null || date -u +%Y-%m-%dT%H:%M:%SZ)
arguments=(--file deploy/Containerfile --tag "$name" --iidfile "$work/id"
  --build-arg "BASE_IMAGE=$base" --build-arg "BASE_DIGEST=$digest"
  --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "CREATED=$created"
  --build-arg "COMPILED=${COMPILED:-1}" --build-arg "COMPILER_IMAGE=$compiler"
  --secret "id=pip.conf,src=$work/pip.conf" --secret "id=uv.toml,src=$work/uv.toml" --secret "id=ca.pem,src=$work/ca.pem")
[ -z "${BUILD_NETWORK:-}" ] || arguments+=(--network "$BUILD_NETWORK")
say "building $name with $builder on $base${digest:+@$digest}"
case $builder in
  # Unlike the others, buildah keeps intermediate layers only when it is told to.
  buildah) buildah build --layers "${arguments[@]}" . ;;
  podman) podman build "${arguments[@]}" . ;;
  docker) DOCKER_BUILDKIT=1 docker build "${arguments[@]}" . ;;
esac >"$work/log" 2>&1 || { cat "$work/log" >&2; die "the build failed; what was said stands above"; }
id=$(cat "$work/id")

mkdir -p dist
sbom=dist/penstock-${TAG:-$version}.cdx.json
inside=/usr/share/penstock/sbom.cdx.json
case $builder in
  buildah)
    container=$(buildah from "$id")
    buildah run "$container" cat "$inside" >"$sbom"
    buildah rm "$container" >/dev/null ;;
  *)
    container=$("$builder" create "$id")
    "$builder" cp "$container:$inside" "$sbom"
    "$builder" rm "$container" >/dev/null ;;
esac
echo "$name"
say "id $id"
say "its parts are listed in $sbom"
