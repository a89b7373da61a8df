#!/bin/sh
# Starts docker-compose.yml and waits until every demo answers through the router.
. "$(dirname "$0")/lib.sh"
stack_env

listens() { ss -Hltn "sport = :$1" | grep -q .; }

free_near() { # free_near PORT: the first port from there on that nobody listens on
	port=$1
	while listens "$port"; do port=$((port + 1)); done
	echo "$port"
}

# A port that is taken is told before anything is started, with the command that helps.
check_port() { # check_port VARIABLE PORT ALTERNATIVE
	case "$2" in
	'' | *[!0-9]*) die "$1=$2 is not a port; for example: make up $1=$3" ;;
	esac
	[ "$2" -ge 1 ] && [ "$2" -le 65535 ] || die "$1=$2 is not a port: 1 to 65535"
	for name in $(docker_cmd ps --filter "publish=$2" --format '{{.Label "com.docker.compose.project"}}/{{.Names}}'); do
		case "$name" in
		"$COMPOSE_PROJECT_NAME"/*) return 0 ;; # ours, of the last 'make up'
		*) taken="$taken  $2: the container ${name#*/}
" && return 0 ;;
		esac
	done
	listens "$2" || return 0
	who=$(ss -Hltnp "sport = :$2" | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/ \1 (process \2)/p' | sort -u | head -n 3 | tr -d '\n')
	taken="$taken  $2:${who:- another program (as root, 'ss -ltnp sport = :$2' names it)}
"
}
taken=""
check_port HTTP_PORT "$HTTP_PORT" 8080
check_port HTTPS_PORT "$HTTPS_PORT" 8443
if [ -n "$taken" ]; then
	http=$(free_near 8080)
	https=$(free_near 8443)
	die "These ports are taken:
${taken}Stop what has them, or take others:  make up HTTP_PORT=$http HTTPS_PORT=$https"
fi

compose up -d --remove-orphans

answers() { # answers STATUS URL-PATH HOST [curl options]
	want=$1 path=$2 host=$3
	shift 3
	code=$(curl -s -o /dev/null -m 3 -w '%{http_code}' -H "Host: $host" "$@" "http://127.0.0.1:$HTTP_PORT$path") || true
	[ "$code" = "$want" ]
}

wait_for() { # wait_for TEXT answers...
	text=$1
	shift
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		if [ "$tries" -ge 150 ]; then
			compose ps >&2 || true
			compose logs --tail=40 router >&2 || true
			die "no answer in time: $text"
		fi
		sleep 0.2
	done
}

wait_for "whoami" answers 200 / whoami.localhost
wait_for "path prefix" answers 200 /app/ apps.localhost
wait_for "basic auth, without a password" answers 401 / private.localhost
wait_for "basic auth, with the password" answers 200 / private.localhost -u admin:admin
wait_for "dashboard" answers 200 /dashboard/ monitor.localhost
tls() {
	code=$(curl -sk -o /dev/null -m 3 -w '%{http_code}' --resolve "whoami.localhost:$HTTPS_PORT:127.0.0.1" "https://whoami.localhost:$HTTPS_PORT/") || true
	[ "$code" = 200 ]
}
wait_for "whoami over TLS" tls

p=""
[ "$HTTP_PORT" = 80 ] || p=":$HTTP_PORT"
s=""
[ "$HTTPS_PORT" = 443 ] || s=":$HTTPS_PORT"
cat <<END

Sluice is up.

  dashboard          http://monitor.localhost$p
  two replicas       http://whoami.localhost$p       (and https://whoami.localhost$s, self-signed)
  below a path       http://apps.localhost$p/app
  with a password    http://private.localhost$p      (admin / admin)

  make logs          follows the router's log
  make down          takes everything away again
END
