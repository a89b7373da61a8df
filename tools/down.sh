#!/bin/sh
# Takes away what `make up` made: containers, networks, volumes, the image.
. "$(dirname "$0")/lib.sh"
stack_env

if ! engine_up; then
	say "no Docker engine answers; nothing to take away"
	exit 0
fi
compose down --volumes --remove-orphans --timeout 5
docker_cmd image rm -f "$SLUICE_IMAGE" >/dev/null 2>&1 || true
