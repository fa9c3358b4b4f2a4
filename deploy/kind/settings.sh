# shellcheck shell=bash disable=SC2034  # those who read this file use what it sets
# What up.sh and down.sh share. Told by the environment: PENSTOCK_KIND_CLUSTER, PENSTOCK_KIND_PORT, PENSTOCK_KIND_ENGINE
# (docker or podman), PENSTOCK_KIND_IMAGE (an image that is there already, instead of a build).
cluster=${PENSTOCK_KIND_CLUSTER:-penstock}
port=${PENSTOCK_KIND_PORT:-8080}
say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'penstock: %s\n' "$*" >&2; exit 1; }

# How to get each tool that may be missing.
how_to_get() {
  case $1 in
    kind) echo "kind: https://kind.sigs.k8s.io/docs/user/quick-start/#installation (one file; or: go install sigs.k8s.io/kind@latest; brew install kind)" ;;
    kubectl) echo "kubectl: https://kubernetes.io/docs/tasks/tools/ (one file; or: brew install kubectl)" ;;
    helm) echo "helm: https://helm.sh/docs/intro/install/ (one file; or: brew install helm)" ;;
    *) echo "$1: with the package manager of this machine, such as: sudo apt-get install $1" ;;
  esac
}

# Names what is missing, all of it at once.
need() {
  local tool missing=()
  for tool in "$@"; do command -v "$tool" >/dev/null 2>&1 || missing+=("$tool"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  printf 'penstock: missing: %s. To install:\n' "${missing[*]}" >&2
  for tool in "${missing[@]}"; do printf '  %s\n' "$(how_to_get "$tool")" >&2; done
  exit 1
}

# docker where its daemon answers, else podman; kind is told which.
find_engine() {
  local name
  for name in ${PENSTOCK_KIND_ENGINE:-docker podman}; do
    if command -v "$name" >/dev/null 2>&1 && "$name" info >/dev/null 2>&1; then
      engine=$name
      export KIND_EXPERIMENTAL_PROVIDER=$name
      return
    fi
  done
  die "neither docker (with a daemon that answers) nor podman works here${PENSTOCK_KIND_ENGINE:+ (PENSTOCK_KIND_ENGINE=$PENSTOCK_KIND_ENGINE)}. To install: sudo apt-get install podman, or https://docs.docker.com/engine/install/"
}

there() {
  local all
  all=$(kind get clusters 2>/dev/null) || die "kind get clusters fails"
  [[ $'\n'$all$'\n' == *$'\n'"$cluster"$'\n'* ]]
}
