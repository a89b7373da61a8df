# Shared by the scripts beside it; sourced, never run.

set -eu

TOP=$(cd "$(dirname "$0")/.." && pwd)
cd "$TOP"

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
	warn "$*"
	exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# root runs a command as root: directly, or by sudo.
root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif have sudo; then
		sudo "$@"
	else
		die "this step needs root or sudo: $*"
	fi
}

# docker_cmd runs the docker client in a way that reaches the engine.
docker_cmd() {
	if [ -z "${DOCKER_AS:-}" ]; then
		if docker version >/dev/null 2>&1 || [ "$(id -u)" = 0 ]; then DOCKER_AS=user; else DOCKER_AS=root; fi
	fi
	if [ "$DOCKER_AS" = user ]; then docker "$@"; else root docker "$@"; fi
}

# engine_up reports whether an engine answers. A hung one counts as down.
engine_up() {
	have docker || return 1
	timeout 20 docker info >/dev/null 2>&1 && return 0
	[ "$(id -u)" != 0 ] && have sudo && sudo -n timeout 20 docker info >/dev/null 2>&1
}

# compose runs `docker compose` where the plug-in is there, else docker-compose.
compose() {
	if [ -z "${COMPOSE_KIND:-}" ]; then
		if docker compose version >/dev/null 2>&1; then
			COMPOSE_KIND=plugin
		elif have docker-compose; then
			COMPOSE_KIND=classic
		else
			die "neither 'docker compose' nor docker-compose is installed; run 'make setup'"
		fi
	fi
	if [ "$COMPOSE_KIND" = plugin ]; then
		docker_cmd compose "$@"
	elif docker version >/dev/null 2>&1 || [ "$(id -u)" = 0 ]; then
		docker-compose "$@"
	else
		root env "HTTP_PORT=$HTTP_PORT" "HTTPS_PORT=$HTTPS_PORT" "SLUICE_USER=$SLUICE_USER" "DOCKER_GID=$DOCKER_GID" \
			"SLUICE_IMAGE=$SLUICE_IMAGE" "ROUTER_IMAGE=$ROUTER_IMAGE" "DOCKER_SOCK=$DOCKER_SOCK" docker-compose "$@"
	fi
}

# stack_env sets what docker-compose.yml reads.
stack_env() {
	export HTTP_PORT="${HTTP_PORT:-80}" HTTPS_PORT="${HTTPS_PORT:-443}"
	export SLUICE_IMAGE="${SLUICE_IMAGE:-sluice:dev}" DOCKER_SOCK="${DOCKER_SOCK:-/var/run/docker.sock}"
	export ROUTER_IMAGE="${ROUTER_IMAGE:-$SLUICE_IMAGE}"
	export COMPOSE_PROJECT_NAME="${COMPOSE_PROJECT_NAME:-sluice}"
	# The router runs as nobody in particular where the socket's group may
	# read and write it; else only root gets through.
	DOCKER_GID=$(stat -Lc %g "$DOCKER_SOCK" 2>/dev/null || echo 0)
	case "$(stat -Lc %a "$DOCKER_SOCK" 2>/dev/null || echo 600)" in
	*[67]?) SLUICE_USER="${SLUICE_USER:-65532:65532}" ;;
	*) SLUICE_USER="${SLUICE_USER:-0:0}" ;;
	esac
	export DOCKER_GID SLUICE_USER
}
