#!/bin/sh
# Builds the image: FROM scratch, the static binary, the CA bundle of this
# machine, a data directory for routers that are not root's.
. "$(dirname "$0")/lib.sh"
stack_env

CA=/etc/ssl/certs/ca-certificates.crt
[ -s "$CA" ] || die "no CA bundle at $CA; run 'make setup'"
CTX=$(mktemp -d)
trap 'rm -rf "$CTX"' EXIT
mkdir "$CTX/certificates" "$CTX/bin"
touch "$CTX/certificates/.keep"
cp "${SLUICE_BINARY:-bin/sluice}" "$CTX/sluice"
ln -s /sluice "$CTX/bin/sluice"
ln -s /sluice "$CTX/bin/traefik"
cp "$CA" "$CTX/ca-certificates.crt"
cp deploy/Dockerfile "$CTX/Dockerfile"
chmod 755 "$CTX" "$CTX/sluice" "$CTX/certificates" "$CTX/bin"
chmod 644 "$CTX/ca-certificates.crt" "$CTX/certificates/.keep"

old=$(docker_cmd image inspect -f '{{.Id}}' "$SLUICE_IMAGE" 2>/dev/null || true)

# Engines before 23 build without buildx; newer clients say so if it is missing.
if docker buildx version >/dev/null 2>&1; then kit=1; else kit=0; fi
DOCKER_BUILDKIT=$kit docker_cmd build -q --label "org.opencontainers.image.version=${VERSION:-dev}" \
	-t "$SLUICE_IMAGE" "$CTX" >/dev/null 2>"$CTX/err" || {
	cat "$CTX/err" >&2
	die "the image was not built"
}
# The image that had the name before is garbage now, unless a container runs it.
new=$(docker_cmd image inspect -f '{{.Id}}' "$SLUICE_IMAGE")
[ -z "$old" ] || [ "$old" = "$new" ] || docker_cmd image rm "$old" >/dev/null 2>&1 || true
say "image $SLUICE_IMAGE: $(docker_cmd image inspect -f '{{.Size}}' "$SLUICE_IMAGE" | awk '{printf "%.1f MB", $1/1e6}')"
