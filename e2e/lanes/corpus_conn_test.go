package lanes

import "strings"

func pipelines() []case_ {
	one := get("")[0]
	withBody := post("Content-Length: 5\r\n", "hello")[0]
	return []case_{
		{name: "two in a row", send: []string{one, "@answer", one}, answers: 2, want: "200 200 open", seen: 2},
		{name: "two at once", send: []string{one + one}, answers: 2, want: "200 200 open", seen: 2},
		{name: "ten at once", send: []string{strings.Repeat(one, 10)}, answers: 10, want: strings.Repeat("200 ", 10) + "open", seen: 10},
		{name: "two at once and a slow server", send: []string{one + one}, say: []string{"@wait 60ms", ok}, answers: 2, want: "200 200 open", seen: 2},
		{name: "the second while the first is answered", send: []string{one, "@wait 60ms", one}, say: []string{"@wait 150ms", ok}, answers: 2, want: "200 200 open", seen: 2},
		{name: "half of the second while the first is answered", send: []string{one, "@wait 60ms", one[:20], "@wait 150ms", one[20:]}, say: []string{"@wait 120ms", ok}, answers: 2, want: "200 200 open", seen: 2},
		{name: "bodies at once", send: []string{withBody + withBody + one}, answers: 3, want: "200 200 200 open", seen: 3, has: []string{`"hello" whole true`}},
		{name: "chunks at once", send: []string{strings.Repeat(chunked("5\r\nhello\r\n0\r\n\r\n")[0], 3)}, answers: 3, want: "200 200 200 open", seen: 3},
		{name: "trailers and a request behind", send: []string{chunked("5\r\nhello\r\n0\r\nA: b\r\n\r\n")[0] + one}, answers: 2, want: "200 200 open", seen: 2},
		{name: "close, and a request behind", send: []string{"GET / HTTP/1.1\r\nHost: $H\r\nConnection: close\r\n\r\n" + one}, want: "200 closed", seen: 1},
		{name: "good, then bad", send: []string{one + "nonsense\r\n\r\n"}, answers: 2, want: "200 400 closed", seen: 1},
		{name: "good, then half", send: []string{one + one[:20], "@half"}, want: "200 closed", seen: 1},
		{name: "no routes at once", send: []string{strings.Repeat("GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n", 3) + one}, answers: 4, want: "404 404 404 200 open", seen: 1},
		{name: "bodies without a route at once", send: []string{strings.Repeat("POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 5\r\n\r\nhello", 3) + one}, answers: 4, want: "404 404 404 200 open", seen: 1},
		{name: "chunks without a route at once", send: []string{strings.Repeat("POST / HTTP/1.1\r\nHost: nobody.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 3) + one}, answers: 4, want: "404 404 404 200 open", seen: 1},
		{name: "no route with half a body, then the rest and more", send: []string{"POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 5\r\n\r\nhe", "@answer", "llo" + one}, answers: 2, want: "404 200 open", seen: 1},
		{name: "head and get at once", send: []string{"HEAD / HTTP/1.1\r\nHost: $H\r\n\r\n" + one}, say: []string{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"}, again: []string{ok}, answers: 2, want: "200 200 open", seen: 2},
		{name: "blank lines between", send: []string{one + "\r\n" + one}, answers: 2, want: "200 200 open", seen: 2},
		{name: "servers that close between", send: []string{one, "@answer", "@wait 150ms", one, "@answer", "@wait 150ms", one}, say: []string{ok, "@close"}, answers: 3, want: "200 200 200 open", seen: 3},
		{name: "a post on a stale connection", send: []string{one, "@answer", "@wait 250ms", withBody}, say: []string{ok, "@wait 20ms", "@close"}, answers: 2, want: "200 200 open", seen: 2},
		{name: "a get on a connection that closes at the request", send: []string{one, "@answer", one}, say: []string{ok}, again: []string{"@close"}, answers: 2, want: "200 200 open", seen: 3},
		{name: "a post on a connection that closes at the request", send: []string{one, "@answer", withBody}, say: []string{ok}, again: []string{"@close"}, answers: 2, want: "200 502 open", seen: 2},
		{name: "a put on a connection that closes at the request", send: []string{one, "@answer", "PUT / HTTP/1.1\r\nHost: $H\r\nContent-Length: 5\r\n\r\nhello"}, say: []string{ok}, again: []string{"@close"}, answers: 2, want: "200 200 open", seen: 3, has: []string{`"hello" whole true`}},
	}
}

func endings() []case_ {
	one := get("")[0]
	return []case_{
		{entry: "patient", name: "half-close after a request", send: []string{one, "@half"}, want: "200 closed", differs: "whether the end is read before the answer is a matter of time", seen: 1, body: `body "ok"`},
		{entry: "patient", name: "half-close after a request, slow server", send: []string{one, "@half"}, say: []string{"@wait 150ms", ok}, want: "200 closed", differs: "whether the end is read before the answer is a matter of time", seen: 1, body: `body "ok"`},
		{entry: "patient", name: "half-close after a body", send: []string{post("Content-Length: 5\r\n", "hello")[0], "@half"}, say: []string{"@wait 100ms", ok}, want: "200 closed", differs: "whether the end is read before the answer is a matter of time", seen: 1, has: []string{`"hello" whole true`}},
		{entry: "patient", name: "half-close after chunks", send: []string{chunked("5\r\nhello\r\n0\r\n\r\n")[0], "@half"}, say: []string{"@wait 100ms", ok}, want: "200 closed", differs: "whether the end is read before the answer is a matter of time", seen: 1, has: []string{`"hello" whole true`}},
		{entry: "patient", name: "half-close, answer in pieces", send: []string{one, "@half"}, say: []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", "@wait 150ms", "llo"}, want: "200 closed", differs: "whether the end is read before the answer is a matter of time", seen: 1, body: `body "hello"`},
		{entry: "patient", name: "half-close after two requests", send: []string{one + one, "@half"}, say: []string{"@wait 60ms", ok}, answers: 2, want: "200 200 closed", seen: 2},
		{entry: "patient", name: "half-close later", send: []string{one, "@met", "@wait 60ms", "@half"}, say: []string{"@wait 200ms", ok}, want: "200 closed", differs: "whether the end is read before the answer is a matter of time", seen: 1, body: `body "ok"`},
		{entry: "patient", name: "half-close within a body", send: []string{post("Content-Length: 10\r\n", "half")[0], "@met", "@wait 50ms", "@half"}, answers: 1, want: "499 closed", seen: 1, has: []string{"whole false"}},
		{entry: "patient", name: "half-close within a chunk", send: []string{chunked("5\r\nhe")[0], "@met", "@wait 50ms", "@half"}, answers: 1, want: "499 closed", seen: 1, has: []string{"whole false"}},
		{entry: "patient", name: "half-close before the last chunk", send: []string{chunked("5\r\nhello\r\n")[0], "@met", "@wait 50ms", "@half"}, answers: 1, want: "499 closed", seen: 1, has: []string{"whole false"}},
		{entry: "patient", name: "half-close without a route", send: []string{"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n", "@half"}, want: "404 closed"},
		{entry: "patient", name: "half-close within a body without a route", send: []string{"POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 9\r\n\r\nha", "@half"}, want: "404 closed"},
		// Over TLS the loop lane does not look for a close_notify while a client waits; it sees the end of TCP.
		{clear: true, name: "half-close counts as going away", send: []string{one, "@met", "@wait 60ms", "@half"}, say: []string{"@wait 300ms", ok}, want: "499 closed", seen: 1},
		{clear: true, name: "half-close within an answer counts as going away", send: []string{one, "@some", "@half"}, say: []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", "@hold"}, want: "200 cut", seen: 1},
		{name: "impatient: half-close within a body", send: []string{post("Content-Length: 10\r\n", "half")[0], "@met", "@wait 50ms", "@half"}, answers: 1, want: "499 closed", seen: 1, has: []string{"whole false"}},
		{name: "reset while waiting", send: []string{one, "@met", "@wait 60ms", "@reset"}, say: []string{"@hold"}, want: "gone", seen: 1},
		{name: "reset within a body", send: []string{post("Content-Length: 10\r\n", "half")[0], "@met", "@wait 60ms", "@reset"}, want: "gone", seen: 1, has: []string{"whole false"}},
		{name: "reset within an answer", send: []string{one, "@some", "@reset"}, say: []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", "@hold"}, want: "200 gone", seen: 1},
		{name: "reset within a stream", send: []string{one, "@some", "@reset"}, say: []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", "@hold"}, want: "200 gone", seen: 1},
		{name: "close within a body", send: []string{post("Content-Length: 10\r\n", "half")[0], "@met", "@wait 60ms", "@close"}, want: "gone", seen: 1, has: []string{"whole false"}},
		{name: "slow chunks", send: []string{chunked("")[0], "@wait 30ms", "2\r\nhe\r\n", "@wait 30ms", "3\r\nllo\r\n", "@wait 30ms", "0\r\n\r\n"}, want: "200 open", seen: 1, has: []string{`"hello" whole true`}},
	}
}

func upgrades() []case_ {
	const up = "Connection: Upgrade\r\nUpgrade: echo\r\n"
	const yes = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
	ws := "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: Y29uZm9ybS1sYWItMTIzNA==\r\n"
	return []case_{
		{name: "upgrade", send: []string{get(up)[0], "@answer", "hello", "@tunnel 5", "@half"}, say: []string{yes, "@echo"}, want: "101 closed", seen: 1, body: `tunnel "hello"`, has: []string{"Connection: Upgrade\n", "Upgrade: echo\n", `tunnel "hello"`}},
		{name: "upgrade with early bytes", send: []string{get(up)[0] + "hello", "@tunnel 5", "@half"}, say: []string{yes, "@echo"}, want: "101 closed", seen: 1, body: `tunnel "hello"`},
		{name: "upgrade with early bytes and a slow server", send: []string{get(up)[0], "@wait 40ms", "hel", "@wait 40ms", "lo", "@tunnel 5", "@half"}, say: []string{"@wait 150ms", yes, "@echo"}, want: "101 closed", seen: 1, body: `tunnel "hello"`},
		{name: "upgrade and the server speaks first", send: []string{get(up)[0], "@tunnel 2", "bye", "@half"}, say: []string{yes + "hi", "@raw 3", "@close"}, want: "101 closed", seen: 1, body: `tunnel "hi"`, has: []string{`tunnel "bye"`}},
		{name: "upgrade, the server ends", send: []string{get(up)[0], "@tunnel 2", "@wait 30ms", "@half"}, say: []string{yes + "hi", "@close"}, want: "101 closed", seen: 1, body: `tunnel "hi"`, answers: 1},
		{name: "upgrade, half-close and an answer", send: []string{get(up)[0], "@answer", "end", "@half"}, say: []string{yes, "@raw 3", "@wait 50ms", "done", "@close"}, want: "101 closed", seen: 1, body: `tunnel "done"`},
		{name: "websocket", send: []string{get(ws)[0], "@answer", "frames", "@tunnel 6", "@half"}, say: []string{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "@echo"}, want: "101 closed", seen: 1, has: []string{"X-Forwarded-Proto: ws\n", "Sec-WebSocket-Key: Y29uZm9ybS1sYWItMTIzNA=="}, body: "Sec-WebSocket-Extensions: permessage-deflate"},
		{name: "upgrade declined", send: []string{get(up)[0], "@answer", get("")[0]}, say: []string{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"}, answers: 2, want: "200 200 open", seen: 2},
		{name: "upgrade refused", send: get(ws), say: []string{"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"}, want: "400 open", seen: 1},
		{name: "upgrade required", send: get(""), say: []string{"HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 0\r\n\r\n"}, want: "426 open", seen: 1},
		{name: "upgrade without connection", send: get("Upgrade: echo\r\n"), want: "200 open", seen: 1, hasNot: []string{"Upgrade"}},
		{name: "upgrade in HTTP/1.0", send: []string{"GET / HTTP/1.0\r\nHost: $H\r\n" + up + "\r\n"}, want: "200 closed", seen: 1, hasNot: []string{"Upgrade"}},
		{name: "upgrade of a post", send: []string{post(up+"Content-Length: 2\r\n", "hi")[0], "@answer", "hello", "@tunnel 5", "@half"}, say: []string{yes, "@echo"}, want: "101 closed", seen: 1, body: `tunnel "hello"`, has: []string{`body "hi" whole true`}},
		{name: "upgrade without a route", send: []string{"GET / HTTP/1.1\r\nHost: nobody.test\r\n" + up + "\r\n"}, want: "404 open"},
		{name: "upgrade to another protocol than asked", send: []string{get(up)[0], "@answer", "@half"}, say: []string{strings.ReplaceAll(yes, "echo", "other"), "@close"}, want: "502 closed", seen: 1},
		{name: "upgrade to one of several", send: []string{strings.Replace(get(up)[0], "echo", "other/2, Echo", 1), "@answer", "hello", "@tunnel 5", "@half"}, say: []string{yes, "@echo"}, want: "101 closed", seen: 1, body: `tunnel "hello"`},
		{name: "upgrade large both ways", send: []string{get(up)[0], "@answer", strings.Repeat("0123456789abcdef", 20_000), "@tunnel 320000", "@half"}, say: []string{yes, "@echo"}, want: "101 closed", seen: 1, body: "tunnel 320000 bytes"},
	}
}
