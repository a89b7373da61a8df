package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

func portOf(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

// nginxConfig runs nginx as one would in production beside the others: two
// workers, keep-alive to the backend, no access log, the same forwarded fields,
// nothing spilled to disk, uploads streamed.
func nginxConfig(c *contestant, s spec) error {
	const fields = `proxy_set_header Host $host; proxy_set_header Connection $conn_up; proxy_set_header Upgrade $http_upgrade;
  proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Port $server_port;`
	location, zones := "location / { proxy_pass http://b; }", ""
	if s.chain {
		if err := os.WriteFile(c.dir+"/htpasswd", []byte(shaUser+"\n"), 0o644); err != nil {
			return err
		}
		zones = "limit_req_zone $binary_remote_addr zone=z:10m rate=1000000r/s;"
		location = `location /api/ {
    limit_req zone=z burst=1000000 nodelay;
    auth_basic "r"; auth_basic_user_file ` + c.dir + `/htpasswd;
    ` + fields + ` proxy_set_header X-Forwarded-Prefix /api; proxy_set_header X-Bench 1;
    add_header X-Frame-Options DENY; add_header X-Content-Type-Options nosniff;
    proxy_pass http://b/;
  }`
	}
	listen, first, tls := "listen "+c.http+";", "listen "+c.http+" default_server reuseport backlog=4096;", ""
	if s.tls {
		listen += " listen " + c.https + " ssl http2;"
		first += " listen " + c.https + " default_server ssl http2 reuseport backlog=4096;"
		tls = fmt.Sprintf("ssl_certificate %s/cert.pem; ssl_certificate_key %s/key.pem; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:S:10m;", c.work, c.work)
	}
	var servers, temp strings.Builder
	for _, h := range s.hosts {
		fmt.Fprintf(&servers, "  server { %s server_name %s; %s }\n", listen, h, location)
	}
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temp, "%s_temp_path %s; ", kind, filepath.Join(c.dir, "temp-"+kind))
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;"
	}
	return replace(c.dir+"/nginx.conf", fmt.Sprintf(`worker_processes 2; %s pid %s/nginx.pid; error_log %s/error.log crit;
worker_rlimit_nofile 20000;
events { worker_connections 16384; }
http {
  access_log off; server_tokens off; tcp_nodelay on; keepalive_requests 1000000; keepalive_timeout 65;
  server_names_hash_max_size 65536; server_names_hash_bucket_size 128; client_max_body_size 0;
  %s
  map $http_upgrade $conn_up { default upgrade; '' ''; }
  %s %s
  upstream b { server 127.0.0.1:%d; keepalive 256; keepalive_requests 1000000; }
  proxy_http_version 1.1; proxy_buffers 32 8k; proxy_max_temp_file_size 0; proxy_request_buffering off;
  %s
  server { %s server_name _; return 404; }
%s}
`, user, c.dir, c.dir, temp.String(), tls, zones, s.backend, fields, first, servers.String()))
}

// haproxyConfig does the same for HAProxy; hosts are looked up in a map.
func haproxyConfig(c *contestant, s spec) error {
	var table strings.Builder
	for _, h := range s.hosts {
		table.WriteString(h + " be\n")
	}
	if err := replace(c.dir+"/hosts.map", table.String()); err != nil {
		return err
	}
	tls, users, chain := "", "", ""
	if s.tls {
		tls = fmt.Sprintf("  bind %s ssl crt %s/both.pem alpn h2,http/1.1\n", c.https, c.work)
	}
	if s.chain {
		users = "userlist ul\n  user user insecure-password pass\n"
		chain = `  stick-table type ip size 100k expire 10s store http_req_rate(1s)
  http-request track-sc0 src
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1000000 }
  http-request auth realm r unless { http_auth(ul) }
  http-request replace-path /api(/.*) \1
  http-request set-header X-Forwarded-Prefix /api
  http-request set-header X-Bench 1
  http-response set-header X-Frame-Options DENY
  http-response set-header X-Content-Type-Options nosniff
`
	}
	return replace(c.dir+"/haproxy.cfg", fmt.Sprintf(`global
  nbthread 2
  maxconn 9000
  ssl-default-bind-options ssl-min-ver TLSv1.2
%s
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
  option forwardfor
  http-reuse always
frontend fe
  bind %s
%s  http-request set-header X-Real-IP %%[src]
  http-request set-header X-Forwarded-Host %%[req.hdr(host)]
  http-request set-header X-Forwarded-Port %%[dst_port]
  http-request set-header X-Forwarded-Proto https if { ssl_fc }
  http-request set-header X-Forwarded-Proto http if !{ ssl_fc }
%s  use_backend %%[req.hdr(host),host_only,lower,map_str(%s/hosts.map,none)]
backend be
  server s1 127.0.0.1:%d
`, users, c.http, tls, chain, c.dir, s.backend))
}
