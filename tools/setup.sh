#!/bin/sh
# Installs and starts what the project needs and is missing: a Docker engine,
# compose and the like. Safe to run again; does nothing where all is there.
. "$(dirname "$0")/lib.sh"

missing=""
need() { # need COMMAND PACKAGE, or need /FILE PACKAGE
	case "$1" in
	/*) [ -e "$1" ] || missing="$missing $2" ;;
	*) have "$1" || missing="$missing $2" ;;
	esac
}

PATH="$PATH:/usr/sbin:/sbin"
export PATH
have docker && (have dockerd || engine_up) || missing="$missing docker.io"
if ! have docker-compose && ! docker compose version >/dev/null 2>&1; then missing="$missing docker-compose"; fi
need ip iproute2
need iptables iptables
need curl curl
[ -s /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
for want in "$@"; do # further command:package or file:package pairs, for example python3:python3
	need "${want%%:*}" "${want##*:}"
done

if [ -n "$missing" ]; then
	have apt-get || die "please install:$missing (this is not a Debian system, so 'make setup' cannot)"
	say "installing:$missing"
	root apt-get update -qq || warn "apt-get update had errors; trying with what is known"
	# shellcheck disable=SC2086
	root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
		die "apt-get could not install:$missing"
fi

if engine_up; then
	exit 0
fi

# The package may just have started the engine through systemd.
if [ -d /run/systemd/system ]; then
	root systemctl start docker 2>/dev/null || true
	for _ in $(seq 1 20); do
		engine_up && exit 0
		sleep 1
	done
fi

LOG="${DOCKERD_LOG:-/var/log/dockerd-sluice.log}"

# Without systemd (in a container) nobody mounted the control groups.
if [ -d /sys/fs/cgroup ] && [ ! -e /sys/fs/cgroup/cgroup.controllers ] && [ -z "$(ls -A /sys/fs/cgroup 2>/dev/null)" ]; then
	root mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null || true
fi

try_engine() { # try_engine [dockerd options]
	say "starting dockerd $* (log: $LOG)"
	root rm -f /var/run/docker.pid
	root sh -c 'log=$1; shift; nohup setsid dockerd "$@" >>"$log" 2>&1 </dev/null &' sh "$LOG" "$@"
	for _ in $(seq 1 60); do
		engine_up && return 0
		sleep 0.5
		pidof dockerd >/dev/null 2>&1 || { sleep 1; pidof dockerd >/dev/null 2>&1 || break; }
	done
	engine_up
}

if pidof dockerd >/dev/null 2>&1; then
	for _ in $(seq 1 60); do # somebody else is just starting it
		engine_up && exit 0
		sleep 0.5
	done
	die "dockerd runs but does not answer 'docker info'"
fi

# From the usual to the restricted: some kernels have no nf_tables, some
# sandboxes no NAT at all (published ports still work then, by docker-proxy).
try_engine && exit 0
if have iptables-legacy && pidof dockerd >/dev/null 2>&1; then
	:
elif have iptables-legacy; then
	root update-alternatives --set iptables "$(command -v iptables-legacy)" >/dev/null 2>&1 || true
	try_engine && exit 0
fi
pidof dockerd >/dev/null 2>&1 || { try_engine --iptables=false --ip6tables=false --ip-masq=false && exit 0; }
pidof dockerd >/dev/null 2>&1 || { try_engine --iptables=false --ip6tables=false --ip-masq=false --storage-driver=vfs && exit 0; }
warn "the Docker engine does not start; the end of $LOG:"
root tail -n 20 "$LOG" >&2 || true
exit 1
