#!/usr/bin/env bash
# Builds the image with buildah and writes what can be checked without an engine: .work/image/{image.tar,sbom.cdx.json}.
# The base python:3.13-slim comes from the store of this machine, else from its registry. Where that cannot be reached,
# a stand-in takes its place (stand-in.sh): then the tag ends in -stand-in, and a label says so too.
#
#   PYTHON_DIGEST=@sha256:…   pins the base          IMAGE=name   names the image (localhost/productlane-gateway)
#   EXTRAS=tracing            installs that extra too
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export CONTAINERS_CONF=${CONTAINERS_CONF:-$PWD/deploy/image/containers.conf}
base=docker.io/library/python:3.13-slim
image=${IMAGE:-localhost/productlane-gateway}
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' gateway/__init__.py)

is_stand_in() {
    [[ $(buildah inspect --type image --format '{{index .OCIv1.Config.Labels "productlane-gateway.stand-in"}}' "$base" 2>/dev/null) == true ]]
}

if ! buildah inspect --type image "$base" >/dev/null 2>&1 && ! timeout 60 buildah pull --quiet "$base" >/dev/null 2>&1; then
    echo "build.sh: $base cannot be pulled here; building on a STAND-IN, which is good for checks and for nothing else" >&2
    deploy/image/stand-in.sh .tools/image
fi
tag=$version
base_name=$base
if is_stand_in; then
    tag=$version-stand-in
    base_name="$base (stand-in)"
fi

arguments=(--format docker --isolation "${BUILDAH_ISOLATION:-chroot}" --pull-never --layers
    --build-arg "PYTHON_DIGEST=${PYTHON_DIGEST:-}" --build-arg "EXTRAS=${EXTRAS:-}" --build-arg "VERSION=$version" --build-arg "BASE_NAME=$base_name"
    --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)")
# What this machine trusts and where it installs from, for the time of the build only.
[[ -n ${SSL_CERT_FILE:-} ]] && arguments+=(--volume "$SSL_CERT_FILE:/etc/ssl/certs/ca-certificates.crt:ro")
[[ -n ${PIP_INDEX_URL:-} ]] && arguments+=(--build-arg "PIP_INDEX_URL=$PIP_INDEX_URL")
buildah bud "${arguments[@]}" --tag "$image:$tag" --tag "$image:checked" .

mkdir -p .work/image
rm -f .work/image/*
podman save --quiet --format docker-archive --output .work/image/image.tar "$image:$tag"
.tools/deploy/bin/syft scan --quiet docker-archive:.work/image/image.tar --output cyclonedx-json=.work/image/sbom.cdx.json
echo "$image:$tag" >.work/image/name
echo "build.sh: $image:$tag"
