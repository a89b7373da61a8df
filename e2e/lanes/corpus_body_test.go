package lanes

import "strings"

// post is a request with those fields and what follows the head.
func post(fields, rest string) []string {
	return []string{"POST / HTTP/1.1\r\nHost: $H\r\n" + fields + "\r\n" + rest}
}

// chunked is a request with a chunked body.
func chunked(rest string) []string { return post("Transfer-Encoding: chunked\r\n", rest) }

func bodies() []case_ {
	large := strings.Repeat("0123456789abcdef", 20_000)
	return []case_{
		{name: "sized", send: post("Content-Length: 5\r\n", "hello"), want: "200 open", seen: 1, has: []string{"Content-Length: 5\n", `body "hello" whole true`}},
		{name: "sized zero", send: post("Content-Length: 0\r\n", ""), want: "200 open", seen: 1, has: []string{"Content-Length: 0\n"}},
		{name: "post without a body", send: post("", ""), want: "200 open", seen: 1, has: []string{"Content-Length: 0\n"}},
		{name: "get with length zero", send: get("Content-Length: 0\r\n"), want: "200 open", seen: 1},
		{name: "sized in pieces", send: []string{post("Content-Length: 5\r\n", "he")[0], "@wait 30ms", "llo"}, want: "200 open", seen: 1, has: []string{`body "hello" whole true`}},
		{name: "sized byte by byte", send: append([]string{"@split"}, post("Content-Length: 5\r\n", "hello")...), want: "200 open", seen: 1, has: []string{`body "hello" whole true`}},
		{name: "sized large", send: post("Content-Length: 320000\r\n", large), want: "200 open", seen: 1, has: []string{"320000 bytes"}},
		{name: "length with zeros before", send: post("Content-Length: 0005\r\n", "hello"), want: "200 open", seen: 1, has: []string{"Content-Length: 5\n", `"hello"`}},
		{name: "chunked", send: chunked("5\r\nhello\r\n0\r\n\r\n"), want: "200 open", seen: 1, has: []string{"Transfer-Encoding: chunked\n", `body "hello" whole true`}, hasNot: []string{"Content-Length"}},
		{name: "chunked empty", send: chunked("0\r\n\r\n"), want: "200 open", seen: 1, has: []string{`body "" whole true`}},
		{name: "chunks", send: chunked("1\r\nh\r\n3\r\nell\r\n1\r\no\r\n0\r\n\r\n"), want: "200 open", seen: 1, has: []string{`"hello"`}},
		{name: "chunks byte by byte", send: append([]string{"@split"}, chunked("1\r\nh\r\n4\r\nello\r\n0\r\n\r\n")...), want: "200 open", seen: 1, has: []string{`"hello"`}},
		{name: "chunks split within their ends", send: []string{chunked("5\r\nhello\r")[0], "@wait 20ms", "\n0\r", "@wait 20ms", "\n\r", "@wait 20ms", "\n"}, want: "200 open", seen: 1, has: []string{`"hello"`}},
		{name: "chunk size in capitals and zeros before", send: chunked("00A\r\n0123456789\r\n0000\r\n\r\n"), want: "200 open", seen: 1, has: []string{`"0123456789"`}},
		{name: "chunk extension", send: chunked("5;a=b\r\nhello\r\n0;last\r\n\r\n"), want: "200 open", seen: 1, has: []string{`"hello"`}},
		{name: "chunk large", send: chunked("4e200\r\n" + large + "\r\n0\r\n\r\n"), want: "200 open", seen: 1, has: []string{"320000 bytes"}},
		{name: "chunked in capitals", send: post("Transfer-Encoding: CHUNKED\r\n", "2\r\nhi\r\n0\r\n\r\n"), want: "200 open", seen: 1, has: []string{`"hi"`}},
		{name: "trailers announced", send: post("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", "2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"), want: "200 open", seen: 1, has: []string{`"hi"`, `trailers "X-Sum: 1\r\n"`}},
		{name: "trailers not announced", send: chunked("2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"), want: "200 open", seen: 1, has: []string{`"hi" whole true`}, hasNot: []string{"X-Sum"}},
		{name: "trailers in pieces", send: []string{post("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", "2\r\nhi\r\n0\r\nX-S")[0], "@wait 20ms", "um: 1\r", "@wait 20ms", "\n\r\n"}, want: "200 open", seen: 1, has: []string{`trailers "X-Sum: 1\r\n"`}},
		{name: "trailer of a forwarded field", send: post("Transfer-Encoding: chunked\r\nTrailer: X-Forwarded-For, X-Real-Ip\r\n", "2\r\nhi\r\n0\r\nX-Forwarded-For: 9.9.9.9\r\nX-Real-Ip: 9.9.9.9\r\n\r\n"), want: "200 open", seen: 1, hasNot: []string{"9.9.9.9"}},
		{name: "continue", send: []string{post("Content-Length: 5\r\nExpect: 100-continue\r\n", "")[0], "@some", "hello"}, say: []string{"@early", "HTTP/1.1 100 Continue\r\n\r\n", "@body", ok}, want: "100 200 open", seen: 1, has: []string{"Expect: 100-continue", `"hello" whole true`}},
		{name: "continue with chunks", send: []string{post("Transfer-Encoding: chunked\r\nExpect: 100-Continue\r\n", "")[0], "@some", "5\r\nhello\r\n0\r\n\r\n"}, say: []string{"@early", "HTTP/1.1 100 Continue\r\n\r\n", "@body", ok}, want: "100 200 open", seen: 1, has: []string{`"hello" whole true`}},
		{name: "continue the server does not know", send: []string{post("Content-Length: 5\r\nExpect: 100-continue\r\n", "")[0], "@some", "hello"}, want: "100 200 open", seen: 1, has: []string{`"hello" whole true`}},
		{name: "continue refused", send: post("Content-Length: 5\r\nExpect: 100-continue\r\n", ""), say: []string{"@early", "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", "@close"}, want: "413 closed", seen: 1, has: []string{`body "" whole false`}},
		{name: "continue not waited for", send: post("Content-Length: 5\r\nExpect: 100-continue\r\n", "hello"), want: "200 open", seen: 1, has: []string{`"hello" whole true`}, hasNot: []string{"Expect"}, differs: "whether the body is there already is a matter of time"},
		{name: "continue without a body", send: get("Expect: 100-continue\r\n"), want: "200 open", seen: 1},
		{name: "continue with length zero", send: post("Content-Length: 0\r\nExpect: 100-continue\r\n", ""), want: "200 open", seen: 1},
		{name: "continue in HTTP/1.0", send: []string{"POST / HTTP/1.0\r\nHost: $H\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi"}, want: "200 closed", seen: 1, has: []string{`"hi" whole true`}},
		{name: "continue without a route", send: []string{"POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"}, want: "404 closed"},
		{name: "answer before the body's end", send: []string{post("Content-Length: 10\r\n", "hello")[0], "@answer", "world"}, say: []string{"@early", ok, "@body"}, want: "200 open|200 closed", seen: 1, differs: "what of the body was forwarded, and whether it came soon enough to be read, is a matter of time"},
		{name: "answer before the body's end, which comes", send: []string{post("Content-Length: 10\r\n", "hello")[0], "@some", "world"}, say: []string{"@early", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", "@body", "k"}, want: "200 open", seen: 1, has: []string{`"helloworld" whole true`}},
		{name: "stream both ways", send: []string{chunked("1\r\na\r\n")[0], "@some", "1\r\nb\r\n", "@wait 20ms", "0\r\n\r\n"}, say: []string{"@early", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", "@body", "1\r\ny\r\n0\r\n\r\n"}, want: "200 open", seen: 1, body: `body "xy"`, has: []string{`"ab" whole true`}},
	}
}

func badBodies() []case_ {
	cl := func(v string) []string { return post("Content-Length: "+v+"\r\n", "hello") }
	bad := func(rest string) []string { return chunked(rest + "0\r\n\r\n") }
	return []case_{
		{name: "length not a number", send: cl("five"), want: "400 closed"},
		{name: "length negative", send: cl("-5"), want: "400 closed"},
		{name: "length with a sign", send: cl("+5"), want: "400 closed"},
		{name: "length in hex", send: cl("0x5"), want: "400 closed"},
		{name: "length empty", send: cl(""), want: "400 closed"},
		{name: "length with a blank inside", send: cl("5 5"), want: "400 closed"},
		{name: "length as a list", send: cl("5, 5"), want: "400 closed"},
		{name: "length with a fraction", send: cl("5.0"), want: "400 closed"},
		{name: "length too large", send: cl("99999999999999999999"), want: "400 closed"},
		{name: "chunk size not a number", send: bad("x\r\nhello\r\n"), want: "400 closed"},
		{name: "chunk size empty", send: bad("\r\nhello\r\n"), want: "400 closed"},
		{name: "chunk size negative", send: bad("-5\r\nhello\r\n"), want: "400 closed"},
		{name: "chunk size in 0x", send: bad("0x5\r\nhello\r\n"), want: "400 closed"},
		{name: "chunk size with a blank before", send: bad(" 5\r\nhello\r\n"), want: "400 closed"},
		{name: "chunk size with a blank behind", send: bad("5 \r\nhello\r\n"), want: "400 closed"},
		{name: "chunk size too large", send: bad("ffffffffffffffff\r\nhello\r\n"), want: "400 closed"},
		{name: "chunk size line by LF", send: bad("5\nhello\r\n"), want: "400 closed"},
		{name: "chunk without its end", send: bad("5\r\nhelloXX"), want: "400 closed"},
		{name: "chunk end by LF", send: bad("5\r\nhello\n"), want: "400 closed"},
		{name: "chunk longer than said", send: bad("3\r\nhello\r\n"), want: "400 closed"},
		{name: "chunk extension quoted", send: bad("5;a=\"b\"\r\nhello\r\n"), want: "400 closed"},
		{name: "chunk extension with CR", send: bad("5;a\rb\r\nhello\r\n"), want: "400 closed"},
		{name: "chunk extension with NUL", send: bad("5;a\x00\r\nhello\r\n"), want: "400 closed"},
		{name: "chunk extension without an end", send: chunked("5;" + strings.Repeat("a", 5000)), want: "400 closed"},
		{name: "last chunk by LF", send: chunked("5\r\nhello\r\n0\n\n"), want: "400 closed"},
		{name: "trailer broken", send: chunked("2\r\nhi\r\n0\r\nno colon\r\n\r\n"), want: "400 closed"},
		{name: "trailer folded", send: chunked("2\r\nhi\r\n0\r\nA: b\r\n c\r\n\r\n"), want: "400 closed"},
		{name: "trailer by LF", send: chunked("2\r\nhi\r\n0\r\nA: b\n\r\n"), want: "400 closed"},
		{name: "trailer of framing", send: post("Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n", "0\r\nContent-Length: 5\r\n\r\n"), want: "400 closed"},
		{name: "trailer of framing unannounced", send: chunked("2\r\nhi\r\n0\r\nContent-Length: 5\r\nHost: evil.test\r\n\r\n"), want: "200 open", seen: 1, hasNot: []string{"evil", "Content-Length: 5"}},
		{name: "trailers too large", send: chunked("2\r\nhi\r\n0\r\nA: " + strings.Repeat("a", 20_000) + "\r\n\r\n"), want: "431 closed", seen: -1, differs: "whether the trailers are there already is a matter of time"},
		{name: "bad chunk later", send: []string{chunked("5\r\nhello\r\n")[0], "@met", "@wait 50ms", "x\r\n"}, want: "400 closed", seen: 1, has: []string{"whole false"}},
		{name: "bad chunk later, answer begun", send: []string{chunked("5\r\nhello\r\n")[0], "@some", "x\r\n"}, say: []string{"@early", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "@body"}, want: "200 cut", seen: 1, has: []string{"whole false"}},
	}
}

// smuggling are requests of which two readers might find two ends. None may be forwarded,
// and none may leave a connection on which something else is taken for a request.
func smuggling() []case_ {
	const hidden = "GET /hidden HTTP/1.1\r\nHost: $H\r\n\r\n"
	te := func(v string) []string {
		return post("Transfer-Encoding: "+v+"\r\n", "0\r\n\r\n"+hidden)
	}
	both := func(fields string) []string { return post(fields, "0\r\n\r\n"+hidden) }
	none := []string{"hidden"}
	return []case_{
		{name: "length and coding", send: both("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"), want: "400 closed", hasNot: none},
		{name: "coding and length", send: both("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"), want: "400 closed", hasNot: none},
		{name: "coding and length zero", send: both("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), want: "400 closed", hasNot: none},
		{name: "two lengths", send: both("Content-Length: 5\r\nContent-Length: 6\r\n"), want: "400 closed", hasNot: none},
		{name: "two equal lengths", send: both("Content-Length: 5\r\nContent-Length: 5\r\n"), want: "400 closed", hasNot: none},
		{name: "two codings", send: both("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), want: "400 closed", hasNot: none},
		{name: "two codings, one of them identity", send: both("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"), want: "400 closed", hasNot: none},
		{name: "coding xchunked", send: te("xchunked"), want: "501 closed", hasNot: none},
		{name: "coding identity", send: te("identity"), want: "501 closed", hasNot: none},
		{name: "coding gzip and chunked", send: te("gzip, chunked"), want: "501 closed", hasNot: none},
		{name: "coding chunked and identity", send: te("chunked, identity"), want: "501 closed", hasNot: none},
		{name: "coding chunked twice", send: te("chunked, chunked"), want: "501 closed", hasNot: none},
		{name: "coding in quotes", send: te(`"chunked"`), want: "501 closed", hasNot: none},
		{name: "coding with a parameter", send: te("chunked;q=1"), want: "501 closed", hasNot: none},
		{name: "coding empty", send: te(""), want: "501 closed", hasNot: none},
		{name: "coding with a vertical tab", send: te("\vchunked"), want: "400 closed", hasNot: none},
		{name: "coding folded", send: te("\r\n chunked"), want: "400 closed", hasNot: none},
		{name: "coding with a comma before", send: te(", chunked"), want: "501 closed", hasNot: none},
		{name: "coding in HTTP/1.0", send: []string{"POST / HTTP/1.0\r\nHost: $H\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden}, want: "400 closed", hasNot: none},
		{name: "coding with a blank before the colon", send: both("Transfer-Encoding : chunked\r\n"), want: "400 closed", hasNot: none},
		{name: "coding with a NUL", send: both("Transfer-Encoding\x00: chunked\r\n"), want: "400 closed", hasNot: none},
		{name: "coding behind a bare CR", send: both("A: b\rTransfer-Encoding: chunked\r\n"), want: "400 closed", hasNot: none},
		{name: "coding behind a bare LF", send: both("A: b\nTransfer-Encoding: chunked\r\n"), want: "400 closed", hasNot: none},
		{name: "coding with an underscore beside a length", send: post("Transfer_Encoding: chunked\r\nContent-Length: 2\r\n", "hi"), want: "200 open", seen: 1, has: []string{`body "hi"`}},
		{name: "length with an underscore", send: post("Content_Length: 5\r\n", "")[:1], want: "200 open", seen: 1, has: []string{"Content-Length: 0"}},
		{name: "connection names the coding", send: post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n"), want: "200 open", seen: 1, has: []string{`body "hi"`, "Transfer-Encoding: chunked"}},
		{name: "get with a request for a body", send: []string{"GET / HTTP/1.1\r\nHost: $H\r\nContent-Length: 54\r\n\r\n" + "GET /hidden HTTP/1.1\r\nHost: nobody.test\r\nA: 34567890\r\n\r\n"[:54]}, want: "200 open", seen: 1, has: []string{"Content-Length: 54", "whole true"}},
		{name: "a request for a body without a route", send: []string{"POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 45\r\n\r\nGET /hidden HTTP/1.1\r\nHost: $H\r\n\r\n    "}, want: "404 open", hasNot: none},
		{name: "refused, and a request behind", send: []string{"GET / HTTP/1.1\r\nHost: $H\r\nA : b\r\n\r\n" + hidden}, want: "400 closed", hasNot: none},
		{name: "chunk that ends early for the careless", send: chunked("5;\n0\r\n\r\n" + hidden), want: "400 closed", hasNot: none},
		{name: "two hosts, one by an absolute target", send: []string{"GET http://$H/ HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n"}, want: "400 closed"},
	}
}
