package lanes

import "strings"

// answer is a server that says text and keeps its connection; answerEnd one that closes it.
func answer(text string) []string    { return []string{text} }
func answerEnd(text string) []string { return []string{text, "@close"} }

func answers() []case_ {
	one := func(name, text, body string) case_ {
		return case_{name: name, send: get(""), say: answer(text), want: "200 open", seen: 1, body: body}
	}
	large := strings.Repeat("fedcba9876543210", 20_000)
	cs := []case_{
		one("answer sized", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", `body "hello"`),
		one("answer sized zero", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", `body ""`),
		one("answer large", "HTTP/1.1 200 OK\r\nContent-Length: 320000\r\n\r\n"+large, "320000 bytes"),
		one("answer chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", `body "hello"`),
		one("answer chunked large", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4e200\r\n"+large+"\r\n0\r\n\r\n", "320000 bytes"),
		one("answer chunks with extensions", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n", `body "hello"`),
		one("answer chunk size padded", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5  \r\nhello\r\n0\r\n\r\n", `body "hello"`),
		one("answer with trailers", "HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", `trailers "X-T: 1\r\n"`),
		one("answer with trailers unannounced", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", `trailers "X-T: 1\r\n"`),
		one("answer with a phrase", "HTTP/1.1 200 Fine by me\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 Fine by me"),
		one("answer without a phrase", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200"),
		one("answer with an empty phrase", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200"),
		one("answer keeps order and spelling", "HTTP/1.1 200 OK\r\nx-lower: 1\r\nX-UPPER: 2\r\nset-cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", "  x-lower: 1\n  X-UPPER: 2\n  set-cookie: a\n  Set-Cookie: b\n"),
		one("answer loses hop-by-hop fields", "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: x\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nX-Ours: 2\r\nContent-Length: 0\r\n\r\n", "X-Ours: 2"),
		one("answer of equal lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", `body "ok"`),
		one("answer with a huge head", "HTTP/1.1 200 OK\r\nX-Large: "+strings.Repeat("a", 100_000)+"\r\nContent-Length: 2\r\n\r\nok", `body "ok"`),
		one("answer with an upgrade offer", "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: h2,h2c\r\nContent-Length: 2\r\n\r\nok", `body "ok"`),
		one("answer with bytes above 127", "HTTP/1.1 200 OK\r\nX: \xe4\r\nContent-Length: 0\r\n\r\n", `X: \xe4`),
		{name: "answer until close", send: get(""), say: answerEnd("HTTP/1.1 200 OK\r\n\r\nto the end"), want: "200 open", seen: 1, body: `body "to the end"`},
		{name: "answer until close, large", send: get(""), say: answerEnd("HTTP/1.1 200 OK\r\n\r\n" + large), want: "200 open", seen: 1, body: "320000 bytes"},
		{name: "answer until close, empty", send: get(""), say: answerEnd("HTTP/1.1 200 OK\r\n\r\n"), want: "200 open", seen: 1, body: `body ""`},
		{name: "answer until close to HTTP/1.0", send: []string{"GET / HTTP/1.0\r\nHost: $H\r\nConnection: keep-alive\r\n\r\n"}, say: answerEnd("HTTP/1.1 200 OK\r\n\r\nto the end"), want: "200 closed", seen: 1, body: `body "to the end"`},
		{name: "answer of HTTP/1.0", send: get(""), say: answerEnd("HTTP/1.0 200 OK\r\n\r\nold"), want: "200 open", seen: 1, body: `body "old"`},
		{name: "answer of HTTP/1.0 sized", send: get(""), say: answerEnd("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold"), want: "200 open", seen: 1, body: `body "old"`},
		{name: "answer of HTTP/1.0 keep-alive", send: get(""), say: answer("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nold"), want: "200 open", seen: 1},
		{name: "answer with close", send: get(""), say: answer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"), want: "200 open", seen: 1, lacks: "Connection"},
		{name: "answer 204", send: get(""), say: answer("HTTP/1.1 204 No Content\r\n\r\n"), want: "204 open", seen: 1, lacks: "Content-Length"},
		{name: "answer 204 with a length", send: get(""), say: answer("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"), want: "204 open", seen: 1, lacks: "Content-Length"},
		{name: "answer 304", send: get(""), say: answer("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"), want: "304 open", seen: 1, body: "ETag"},
		{name: "answer 304 with a length", send: get(""), say: answer("HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"), want: "304 open", seen: 1, body: "Content-Length: 500"},
		{name: "answer 205", send: get(""), say: answer("HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"), want: "205 open", seen: 1},
		{name: "answer 404", send: get(""), say: answer("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nmine"), want: "404 open", seen: 1, body: `body "mine"`},
		{name: "answer 418", send: get(""), say: answer("HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n"), want: "418 open", seen: 1},
		{name: "answer 500", send: get(""), say: answer("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), want: "500 open", seen: 1, body: "500 Oops"},
		{name: "answer 999", send: get(""), say: answer("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"), want: "999 open", seen: 1},
		{name: "answer byte by byte", send: get(""), say: strings.Split("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", ""), want: "200 open", seen: 1, body: `body "hello"`},
		{name: "answer in pieces", send: get(""), say: []string{"HTTP/1.1 200 OK\r\nContent-Le", "@wait 40ms", "ngth: 5\r\n\r\nhe", "@wait 40ms", "llo"}, want: "200 open", seen: 1, body: `body "hello"`},
		{name: "answer chunks in pieces", send: get(""), say: []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", "@wait 30ms", "llo\r", "@wait 30ms", "\n0\r\nX-T", "@wait 30ms", ": 1\r\n\r", "@wait 30ms", "\n"}, want: "200 open", seen: 1, body: `trailers "X-T: 1\r\n"`},
		{name: "answer with surplus", send: []string{get("")[0], "@answer", get("")[0]}, answers: 2, say: answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), want: "200 200 open", seen: 2, lacks: "evil"},
		{name: "answer with surplus after 204", send: []string{get("")[0], "@answer", get("")[0]}, answers: 2, say: answer("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), want: "204 204 open", seen: 2, lacks: "evil"},
		{name: "answer with surplus after chunks", send: []string{get("")[0], "@answer", get("")[0]}, answers: 2, say: answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), want: "200 200 open", seen: 2, lacks: "evil"},
		{name: "answer with surplus later", send: []string{get("")[0], "@answer", "@wait 250ms", get("")[0]}, answers: 2, say: []string{ok, "@wait 20ms", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"}, want: "200 200 open", seen: 2, lacks: "evil"},
		{name: "answer to head with a body", send: []string{"HEAD / HTTP/1.1\r\nHost: $H\r\n\r\n", "@answer", "HEAD / HTTP/1.1\r\nHost: $H\r\n\r\n"}, answers: 2, say: answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), want: "200 200 open", seen: 2, lacks: "evil"},
	}
	return cs
}

func badAnswers() []case_ {
	bad := func(name, text string) case_ {
		return case_{name: name, send: get(""), say: answerEnd(text), want: "502 open", seen: 1, body: `body "Bad Gateway"`, lacks: "evil"}
	}
	cut := func(name string, script ...string) case_ {
		return case_{name: name, send: get(""), say: script, want: "200 cut", seen: 1}
	}
	return []case_{
		bad("answer of noise", "nonsense evil\r\n\r\n"),
		bad("answer status 099", "HTTP/1.1 099 evil\r\nContent-Length: 0\r\n\r\n"),
		bad("answer status 1000", "HTTP/1.1 1000 evil\r\nContent-Length: 0\r\n\r\n"),
		bad("answer status 20", "HTTP/1.1 20 evil\r\nContent-Length: 0\r\n\r\n"),
		bad("answer status xyz", "HTTP/1.1 xyz evil\r\nContent-Length: 0\r\n\r\n"),
		bad("answer status negative", "HTTP/1.1 -20 evil\r\nContent-Length: 0\r\n\r\n"),
		bad("answer HTTP/9.9", "HTTP/9.9 200 evil\r\nContent-Length: 0\r\n\r\n"),
		bad("answer HTTP/2.0", "HTTP/2.0 200 evil\r\nContent-Length: 0\r\n\r\n"),
		bad("answer http in small letters", "http/1.1 200 evil\r\nContent-Length: 0\r\n\r\n"),
		bad("answer with a tab in the status line", "HTTP/1.1\t200 evil\r\nContent-Length: 0\r\n\r\n"),
		bad("answer by LF", "HTTP/1.1 200 evil\nContent-Length: 0\n\n"),
		bad("answer field by LF", "HTTP/1.1 200 evil\r\nA: b\nContent-Length: 0\r\n\r\n"),
		bad("answer folded", "HTTP/1.1 200 evil\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
		bad("answer with a blank before the colon", "HTTP/1.1 200 evil\r\nA : b\r\nContent-Length: 0\r\n\r\n"),
		bad("answer with a NUL", "HTTP/1.1 200 evil\r\nA: b\x00\r\nContent-Length: 0\r\n\r\n"),
		bad("answer with a CR in a value", "HTTP/1.1 200 evil\r\nA: b\rSet-Cookie: evil\r\nContent-Length: 0\r\n\r\n"),
		bad("answer of two lengths", "HTTP/1.1 200 evil\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nevil"),
		bad("answer length as a list", "HTTP/1.1 200 evil\r\nContent-Length: 2, 3\r\n\r\nevil"),
		bad("answer length negative", "HTTP/1.1 200 evil\r\nContent-Length: -2\r\n\r\nevil"),
		bad("answer length not a number", "HTTP/1.1 200 evil\r\nContent-Length: x\r\n\r\nevil"),
		bad("answer length and coding", "HTTP/1.1 200 evil\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		bad("answer coding unknown", "HTTP/1.1 200 evil\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
		bad("answer coding twice", "HTTP/1.1 200 evil\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		bad("answer coding in HTTP/1.0", "HTTP/1.0 200 evil\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		bad("answer 101 unasked", "HTTP/1.1 101 evil\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"),
		bad("answer 101 without upgrade", "HTTP/1.1 101 evil\r\n\r\n"),
		bad("answer head over the limit", "HTTP/1.1 200 evil\r\nX: "+strings.Repeat("a", 2<<20)+"\r\n\r\n"),
		bad("answer of too many fields", "HTTP/1.1 200 evil\r\n"+strings.Repeat("A: 1\r\n", 9000)+"\r\n"),
		bad("answer of half a head", "HTTP/1.1 200 evil\r\nA: b"),
		bad("answer of half a status line", "HTTP/1.1 2"),
		bad("answer of nothing", ""),
		bad("answer interim only", "HTTP/1.1 100 Continue\r\n\r\n"),
		bad("answer of endless interims", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100)+ok),
		bad("answer of a bad first chunk", "HTTP/1.1 200 evil\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
		{name: "answer reset", send: get(""), say: []string{"@reset"}, want: "502 open", seen: 1},
		{name: "answer reset to a post", send: post("Content-Length: 2\r\n", "hi"), say: []string{"@reset"}, want: "502 open", seen: 1},
		{name: "answer reset before the body", send: []string{post("Content-Length: 4\r\n", "hi")[0], "@wait 50ms", "ho"}, say: []string{"@early", "@reset"}, want: "502 open|502 closed", seen: 1, differs: "how much was forwarded is a matter of time"},
		cut("answer shorter than said", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "@close"),
		cut("answer chunk shorter than said", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", "@wait 200ms", "@close"),
		cut("answer without the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "@wait 200ms", "@close"),
		cut("answer of a bad second chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "@wait 200ms", "zz\r\n", "@wait 30ms"),
		cut("answer of a bad trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "@wait 200ms", "0\r\nno colon\r\n\r\n", "@wait 30ms"),
		cut("answer reset in its body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "@wait 200ms", "@reset"),
	}
}

func interim() []case_ {
	return []case_{
		{name: "early hints", send: get(""), say: answer("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok), want: "103 200 open", seen: 1, body: "Link: </a>"},
		{name: "early hints twice", send: get(""), say: []string{"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "@wait 30ms", "HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n", "@wait 30ms", ok}, want: "103 103 200 open", seen: 1, body: "Link: </b>"},
		{name: "processing", send: get(""), say: answer("HTTP/1.1 102 Processing\r\n\r\n" + ok), want: "102 200 open", seen: 1},
		{name: "continue unasked", send: get(""), say: answer("HTTP/1.1 100 Continue\r\n\r\n" + ok), want: "200 open", seen: 1},
		{name: "early hints with hop-by-hop fields", send: get(""), say: answer("HTTP/1.1 103 Early Hints\r\nConnection: close, X-Mine\r\nX-Mine: evil\r\nKeep-Alive: evil\r\n\r\n" + ok), want: "103 200 open", seen: 1, lacks: "evil"},
		{name: "early hints with a length", send: get(""), say: answer("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + ok), want: "103 200 open", seen: 1},
	}
}
