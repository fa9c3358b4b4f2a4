#!/usr/bin/env bash
# From nothing to a gateway in a cluster of kind on this machine. Run it again after a change: only what differs is done anew.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/settings.sh"
release=penstock namespace=penstock
demo=$root/deploy/environments/demo
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

need kind kubectl helm curl make
find_engine

k() { kubectl --context "kind-$cluster" --namespace "$namespace" "$@"; }

# When something does not come up, what one would look at first.
explain() {
  say "it did not come up. The pods, and what happened last:"
  k get pods --output wide >&2 || true
  k get events --sort-by=.lastTimestamp 2>/dev/null | tail -n 15 >&2 || true
  die "$1. Look further with: kubectl --context kind-$cluster --namespace $namespace describe pods; docs/runbooks says what alerts and conditions mean"
}

make_cluster() {
  if there; then
    say "cluster $cluster is there"
    kind export kubeconfig --name "$cluster" --quiet
    return
  fi
  say "making cluster $cluster (a minute or two; the first time its image is fetched)"
  sed "s/PORT/$port/" "$here/cluster.yaml" >"$work/cluster.yaml"
  kind create cluster --name "$cluster" --config "$work/cluster.yaml" --wait 180s \
    || die "kind could not make the cluster; is port $port taken (PENSTOCK_KIND_PORT names another)?"
}

# A tag that says what is in the image: the same image restarts nothing, another one does.
load_image() {
  local built id
  built=${PENSTOCK_KIND_IMAGE:-}
  if [ -z "$built" ]; then
    say "building the image (minutes the first time)"
    built=$(BUILDER=$engine make --silent --directory "$root" images | tail -n 1)
  fi
  id=$("$engine" image inspect --format '{{.Id}}' "$built") || die "there is no image $built"
  id=${id#sha256:}
  tag=kind-${id:0:12}
  repository=localhost/penstock
  "$engine" tag "$built" "$repository:$tag"
  say "loading $repository:$tag into the cluster"
  "$engine" save --output "$work/image.tar" "$repository:$tag"
  kind load image-archive "$work/image.tar" --name "$cluster"
  rm -f "$work/image.tar"
}

install() {
  say "installing release $release into namespace $namespace"
  helm upgrade "$release" "$root/charts/penstock" --install --kube-context "kind-$cluster" \
    --namespace "$namespace" --create-namespace --values "$demo/values.yaml" --values "$here/values.yaml" \
    --set "image.repository=$repository,image.tag=$tag" >"$work/notes" || die "helm could not install the release"
}

apply() {
  say "applying the accounts, plans and keys of the demo"
  k wait --for=condition=Established --timeout=60s \
    crd/upstreamaccounts.penstock.dev crd/models.penstock.dev crd/plans.penstock.dev crd/apikeys.penstock.dev >/dev/null
  k apply --filename "$demo/resources.yaml" >/dev/null
}

await() {
  local workload
  # The operator first: the others wait for the certificates that it makes.
  for workload in deployment/penstock-operator deployment/penstock-simulator deployment/penstock-auth \
    deployment/penstock-router statefulset/penstock-edge deployment/penstock-status; do
    say "waiting for $workload"
    k rollout status "$workload" --timeout=300s >&2 || explain "$workload is not ready"
  done
  say "waiting until accounts and keys are in force"
  k wait --for=condition=Ready --timeout=180s upstreamaccounts.penstock.dev --all >&2 || explain "an account is not Ready"
  k wait --for=condition=Ready --timeout=180s apikeys.penstock.dev --all >&2 || explain "a key is not Ready"
}

request() {
  local address key
  # Where the cluster listens, which may have been made with another port.
  address=$("$engine" port "$cluster-control-plane" 30080/tcp)
  address=${address%%$'\n'*}
  url=http://127.0.0.1:${address##*:}
  key=$(k get secret penstock-demo-key --output 'jsonpath={.data.api-key}' | base64 -d)
  say "sending a request to $url"
  curl --fail-with-body --silent --show-error --max-time 60 --retry 8 --retry-connrefused --retry-delay 2 "$url/v1/messages" \
    --header "x-api-key: $key" --header 'content-type: application/json' \
    --data '{"model": "claude-haiku-4-5", "max_tokens": 60, "messages": [{"role": "user", "content": "Hello"}]}' \
    || explain "the request failed"
  echo
}

make_cluster
load_image
install
apply
await
request
cat <<NEXT

The gateway is at $url. Next:

  export PENSTOCK_KEY=\$(kubectl --context kind-$cluster -n $namespace get secret penstock-demo-key -o jsonpath='{.data.api-key}' | base64 -d)
  curl $url/v1/messages -H "x-api-key: \$PENSTOCK_KEY" -H 'content-type: application/json' -d '{"model": "claude-haiku-4-5", "max_tokens": 100, "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'
  kubectl --context kind-$cluster -n $namespace get penstock
  helm test $release --kube-context kind-$cluster -n $namespace --logs

deploy/environments/demo/README.md says what to look at. Away with it: deploy/kind/down.sh
NEXT
