package wire

import "github.com/sluice-edge/sluice/proxy/exchange"

// connectionFields applies the client's Connection fields (RFC 9110 §7.6.1): the fields they
// name go, but for those that the edge owns; of the list itself only what the way to the
// server still needs stays.
func connectionFields(ex *exchange.Exchange, fw *Forwarding) {
	fields := &ex.Req.Fields
	if !connected(fields) {
		return
	}
	kept := ""
	for k := 0; ; k++ {
		i := nth(fields, "Connection", k) // places move when fields go
		if i < 0 {
			break
		}
		list := fields.At(i).Value
		for list != "" {
			var t string
			t, list = nextToken(list)
			switch {
			case t == "" || connectionWord(t) || framesOrRoutes(t) || forwardedName(t):
			case !containsFold(fw.Connection, t):
				fields.Del(t)
			case kept != "":
				kept = ex.HoldString(kept, ", ", t)
			default:
				kept = t
			}
		}
	}
	if ex.Req.Upgrade != "" {
		if kept != "" {
			kept = ex.HoldString(kept, ", Upgrade")
		} else {
			kept = "Upgrade"
		}
	} else {
		fields.Del("Upgrade")
	}
	if kept != "" {
		fields.Set("Connection", kept)
	} else {
		fields.Del("Connection")
	}
}

// connected reports whether there is a Connection or Upgrade field at all.
func connected(fields *exchange.Fields) bool {
	for _, f := range fields.All() {
		if len(f.Name) == 10 && is(f.Name, "connection") || len(f.Name) == 7 && is(f.Name, "upgrade") {
			return true
		}
	}
	return false
}

// nth returns the place of the k-th field of that name, or -1.
func nth(fields *exchange.Fields, name string, k int) int {
	i := fields.Index(name, 0)
	for ; i >= 0 && k > 0; k-- {
		i = fields.Index(name, i+1)
	}
	return i
}

func containsFold(list []string, s string) bool {
	for _, x := range list {
		if exchange.EqualFold(x, s) {
			return true
		}
	}
	return false
}

// connectionWord reports a connection option that names no field to be removed here.
func connectionWord(t string) bool {
	switch len(t) {
	case 2:
		return is(t, "te")
	case 5:
		return is(t, "close")
	case 10:
		return is(t, "keep-alive")
	}
	return false
}

// hopByHop reports the fields that are for the next hop only.
func hopByHop(name string) bool {
	switch len(name) {
	case 2:
		return is(name, "te")
	case 7:
		return is(name, "upgrade")
	case 10:
		return is(name, "connection") || is(name, "keep-alive")
	case 16:
		return is(name, "proxy-connection")
	case 17:
		return is(name, "transfer-encoding")
	case 18:
		return is(name, "proxy-authenticate")
	case 19:
		return is(name, "proxy-authorization")
	}
	return false
}

// OutgoingRequest readies the request for a server, once, after the ops: hop-by-hop fields
// go, the peer is appended to X-Forwarded-For, an upgrade and "TE: trailers" are said anew.
//
// A request that accepts no content coding by name gets "Accept-Encoding: identity": the
// reference asks for gzip then and decodes it; asking for no coding has the same effect for
// the client and costs nothing.
func OutgoingRequest(ex *exchange.Exchange) {
	req := &ex.Req
	if ex.Log.Sending != nil {
		ex.Log.Sending(req)
	}
	list := req.Fields.All()
	n, xff, host := 0, -1, -1
	var chain []byte // what further X-Forwarded-For fields say; copied once, there may be a thousand
	te, encoding := false, req.Method == "HEAD"
	named := ""
	for i := range list {
		f := &list[i]
		switch len(f.Name) {
		case 2:
			te = te || is(f.Name, "te") && hasToken(f.Value, "trailers")
		case 5:
			encoding = encoding || is(f.Name, "range")
		case 10:
			if is(f.Name, "connection") {
				named = f.Value // PrepareRequest left one at most
			}
		case 15:
			if is(f.Name, "x-forwarded-for") {
				if xff >= 0 {
					chain = append(append(chain, ", "...), f.Value...)
					continue
				}
				xff = n
			}
			encoding = encoding || is(f.Name, "accept-encoding")
		case 16:
			if host < 0 && is(f.Name, "x-forwarded-host") {
				host = n
			}
		}
		if hopByHop(f.Name) {
			continue
		}
		if n != i {
			list[n] = *f
		}
		n++
	}
	req.Fields.Truncate(n)
	if chain != nil {
		f := req.Fields.At(xff)
		f.Value = ex.HoldString(f.Value, str(chain))
	}
	forwardedFor(ex, xff, host)
	removeNamed(&req.Fields, named)
	if te {
		req.Fields.Add("Te", "trailers")
	}
	if h := req.Hops; h > 0 { // whatever middlewares did to it
		req.Fields.Set(HopsField, "0123456789"[h:h+1])
	}
	if req.Upgrade != "" {
		websocketNames(&req.Fields)
		req.Fields.Add("Connection", "Upgrade")
		req.Fields.Add("Upgrade", req.Upgrade)
	}
	if !encoding {
		req.Fields.Add("Accept-Encoding", "identity")
	}
}

// websocketNames spells the fields of a WebSocket's handshake as RFC 6455 does: there are
// servers that know them in that spelling only, and clients that send another.
func websocketNames(fields *exchange.Fields) {
	for i := range fields.Len() {
		f := fields.At(i)
		if len(f.Name) < 17 || !is(f.Name[:14], "sec-websocket-") {
			continue
		}
		for _, name := range [...]string{"Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Sec-WebSocket-Accept"} {
			if is(f.Name, name) {
				f.Name = name
			}
		}
	}
}

// forwardedFor appends the peer to the field at xff, or makes a field before that at host.
func forwardedFor(ex *exchange.Exchange, xff, host int) {
	if ex.Req.NoForwardedFor || !ex.Req.Peer.IsValid() {
		return
	}
	fields := &ex.Req.Fields
	if xff >= 0 {
		f := fields.At(xff)
		f.Value = ex.HoldString(f.Value, ", ", peerText(ex))
		return
	}
	fields.Add("X-Forwarded-For", peerText(ex))
	if list := fields.All(); host >= 0 {
		last := list[len(list)-1]
		copy(list[host+1:], list[host:])
		list[host] = last
	}
}

// removeNamed removes the fields that a Connection field names, where the entry point let them through so far.
func removeNamed(fields *exchange.Fields, list string) {
	for list != "" {
		var t string
		t, list = nextToken(list)
		if t == "" || connectionWord(t) || framesOrRoutes(t) || forwardedName(t) {
			continue
		}
		fields.Del(t)
	}
}

// Switched reports whether a 101 answer switches to a protocol that the request asked for: no
// server may choose another (RFC 9110 §7.8), and only the client knows how to go on.
func Switched(ex *exchange.Exchange) bool {
	asked := ex.Req.Upgrade
	return asked != "" && (is(asked, ex.Resp.Upgrade) || hasToken(asked, ex.Resp.Upgrade))
}

// OutgoingResponse readies a server's answer for the client, before the response ops:
// hop-by-hop fields and those that its Connection fields name go. What a 101 needs,
// AppendResponse says anew.
func OutgoingResponse(ex *exchange.Exchange) {
	fields := &ex.Resp.Fields
	list := fields.All()
	hop := false
	for i := range list {
		if hopByHop(list[i].Name) {
			hop = true
			break
		}
	}
	if !hop {
		return
	}
	for i := fields.Index("Connection", 0); i >= 0; i = fields.Index("Connection", 0) {
		named := fields.At(i).Value
		fields.At(i).Name = "Keep-Alive" // goes below; the search must not find it again
		removeNamed(fields, named)
	}
	list = fields.All()
	n := 0
	for i := range list {
		if hopByHop(list[i].Name) {
			continue
		}
		if n != i {
			list[n] = list[i]
		}
		n++
	}
	fields.Truncate(n)
}
