package telemetry

import "math/rand/v2"

// tcpMethod stands for the method and the protocol of connections that TCP routers took.
const tcpMethod = "TCP"

// Connection notes a TCP connection at its end, where the access log is to have those: r.Connection
// is set. It counts for no series, neither blocks on I/O nor keeps r, and is safe for concurrent use.
func (h *Hub) Connection(r *Record) {
	set := h.settings.Load()
	if !set.logTCP || set.quiet[r.EntryPoint] {
		return
	}
	s := h.shared[rand.IntN(len(h.shared))]
	s.mu.Lock()
	wake := s.log(r)
	s.mu.Unlock()
	if wake {
		h.wake()
	}
}

// appendConnection adds the line of a connection. For tools that read the Common Log Format it
// is a request with the method TCP for the server name; the server's address has the place of its URL.
func (f *format) appendConnection(dst []byte, r *Record, count uint64, c *clock) []byte {
	if f.kind == formatJSON {
		return f.appendJSONConnection(dst, r, c)
	}
	line := *r
	line.Method, line.Proto, line.Target, line.ServerURL = tcpMethod, tcpMethod, r.Host, r.ServerAddr
	if r.Host == "" || f.drops[fServerName] {
		line.Target = "-"
	}
	if f.drops[fServiceAddr] {
		line.ServerURL = ""
	}
	if f.drops[fBytesToClient] {
		line.ResponseBytes = 0
	}
	return f.appendCLF(dst, &line, count, c)
}

func (f *format) appendJSONConnection(dst []byte, r *Record, c *clock) []byte {
	l := lineOfJSON{append(dst, '{'), f}
	l.number(fBytesFromClient, r.RequestBytes)
	l.number(fBytesToClient, r.ResponseBytes)
	l.client(r)
	l.number(fDuration, r.Duration)
	l.text(fReason, r.Reason)
	l.text(fRouterName, r.Router)
	l.text(fServerName, r.Host)
	l.text(fServiceAddr, r.ServerAddr)
	l.text(fServiceName, r.balancer())
	l.start(r, c)
	l.tls(r)
	l.text(fEntryPointName, r.EntryPoint)
	l.b = append(l.b, `"level":"info","msg":"",`...)
	l.text(fProtocol, "tcp")
	l.end(r, c)
	l.b[len(l.b)-1] = '}'
	return append(l.b, '\n')
}
