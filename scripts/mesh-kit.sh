#!/usr/bin/env bash
# Builds the kit of tests/mesh: a Kubernetes and Istio control plane and a node, from the Go module proxy and nothing else.
#
# usage: scripts/mesh-kit.sh FOLDER     then: MESH_KIT=FOLDER scripts/test.sh mesh
#   FOLDER  gets bin/ with the programs, istio.yaml with Istio's objects as its own charts render them, and
#           envoy_bootstrap.json, the template of its proxy's image
#
# Needs Go 1.26 and Python; 8 GB of caches, and on two cores about 40 minutes.
set -euo pipefail

# kubelet's support of cgroup v1 ends after 1.36.
readonly KUBERNETES=v1.36.3
# The modules that Kubernetes publishes apart.
readonly STAGING=v0.36.3
# The release branch 1.31 of 2026-08-27.
readonly ISTIO=v0.0.0-20260827124520-eed52ebb66ad
readonly ISTIO_NAME=1.31-20260827
readonly KUBERNETES_PROGRAMS=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy)
readonly ISTIO_PROGRAMS=(pilot/cmd/pilot-discovery pilot/cmd/pilot-agent cni/cmd/istio-cni istioctl/cmd/istioctl)
# What stands around: a network policy controller, the S3 server, an authorization of purges, the autoscaler's figures.
readonly OTHER_PROGRAMS=(
  github.com/cloudnativelabs/kube-router/v2/cmd/kube-router@v2.1.0
  github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
  github.com/oauth2-proxy/oauth2-proxy/v7@v7.15.6
  sigs.k8s.io/metrics-server/cmd/metrics-server@v0.9.0
)
export CGO_ENABLED=0 GOFLAGS="-mod=mod -buildvcs=false"

fail() { echo "mesh-kit.sh: $*" >&2; exit 1; }

# downloaded MODULE@VERSION FIELD: where go put it.
downloaded() { go mod download -json "$1" | sed -n "s/.*\"$2\": \"\(.*\)\",*/\1/p"; }

# Its go.mod names the staging modules by folder; this one names those that are published.
write_module() {
  local source
  source=$(downloaded "k8s.io/kubernetes@$KUBERNETES" GoMod)
  {
    printf 'module kit\n'
    sed -n '/^go /p;/^godebug/p' "$source"
    printf 'require k8s.io/kubernetes %s\nreplace (\n' "$KUBERNETES"
    sed -nE "s#^[[:space:]]*(k8s.io/[a-z0-9-]+) => ./staging.*#\1 => \1 $STAGING#p" "$source"
    printf ')\n'
  } >go.mod
  printf '//go:build tools\n\npackage kit\n\n' >tools.go
  printf 'import _ "k8s.io/kubernetes/cmd/%s"\n' "${KUBERNETES_PROGRAMS[@]}" >>tools.go
  go mod tidy -e >/dev/null 2>&1
}

build_kubernetes() {
  local program version=k8s.io/component-base/version
  local flags="-s -w -X $version.gitVersion=$KUBERNETES -X $version.gitMajor=1 -X $version.gitMinor=36"
  cd "$WORK"
  write_module
  for program in "${KUBERNETES_PROGRAMS[@]}"; do
    go build -trimpath -ldflags "$flags" -o "$OUT/bin/$program" "k8s.io/kubernetes/cmd/$program"
  done
}

build_istio() {
  local program version=istio.io/istio/pkg/version
  for program in "${ISTIO_PROGRAMS[@]}"; do
    GOBIN="$OUT/bin" go install -trimpath -ldflags "-s -w -X $version.buildVersion=$ISTIO_NAME -X $version.buildStatus=Clean" "istio.io/istio/$program@$ISTIO"
  done
  cp "$(downloaded "istio.io/istio@$ISTIO" Dir)/tools/packaging/common/envoy_bootstrap.json" "$OUT/"
  "$OUT/bin/istioctl" manifest generate --set profile=minimal --set hub=docker.io/istio --set "tag=$ISTIO_NAME" | without_istiod >"$OUT/istio.yaml"
  rm "$OUT/bin/istioctl"
}

# Nothing runs istiod as a Deployment in the tests, and its webhooks are reached by URL.
without_istiod() {
  python3 -c '
import re, sys
documents = [each for each in re.split(r"(?m)^---\s*$", sys.stdin.read()) if each.strip()]
kept = [each for each in documents if not re.search(r"(?m)^kind: (Deployment|HorizontalPodAutoscaler)$", each)]
service = re.compile(r"(?m)^(\s+)service:\n(?:\1\s+.*\n)*?\1\s+path: \"?(/[^\"\n]*)\"?\n(?:\1\s+.*\n)*")
url = r"\1url: https://istiod.istio-system.svc:15017\2\n"
print("---\n".join(service.sub(url, each + "\n") if "Webhook" in each else each for each in kept))'
}

main() {
  case ${1:-} in "" | -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;; esac
  [[ $1 != -* ]] || fail "there is no option '$1'; see --help"
  command -v go >/dev/null || fail "install Go"
  local program
  WORK=$(mktemp -d)
  trap 'rm -rf "$WORK"' EXIT
  OUT=$(mkdir -p "$1/bin" && cd "$1" && pwd)
  (build_kubernetes)
  build_istio
  for program in "${OTHER_PROGRAMS[@]}"; do GOBIN="$OUT/bin" go install -trimpath -ldflags "-s -w" "$program"; done
}

main "$@"
