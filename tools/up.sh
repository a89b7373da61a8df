#!/bin/sh
# Starts docker-compose.yml and waits until every demo answers through the router.
. "$(dirname "$0")/lib.sh"
stack_env

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
