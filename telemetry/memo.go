package telemetry

// memo keeps what many lines of a moment have in common. It is not safe for concurrent use.
type memo struct {
	// clock is for the beginnings of requests, ends for their ends: one for both would go to
	// and fro where requests take longer than a second.
	clock, ends clock
	routes      [memoSize]routeText
}

// memoSize is how many routes a memo keeps; a power of two.
const memoSize = 64

// routeText is what a JSON line says of its route, for one format: text from RequestPort to
// ServiceURL, entry from entryPointName to msg.
type routeText struct {
	format           *format
	secure, hostless bool
	retries          int
	// key is the names behind each other, ends where each of them ends in it.
	key, text, entry []byte
	ends             [7]int
}

// routeNames are what the text depends on, but for flags and numbers.
func routeNames(r *Record, port string) [7]string {
	return [...]string{r.Router, r.ServerURL, r.ServerAddr, r.balancer(), r.EntryPoint, port, r.Proto}
}

// is reports whether the text is that of r.
func (t *routeText) is(f *format, r *Record, names *[7]string) bool {
	if t.format != f || t.retries != r.Retries || t.secure != (r.TLSVersion != 0) || t.hostless != (r.Host == "") {
		return false
	}
	from := 0
	for i, to := range t.ends {
		if string(t.key[from:to]) != names[i] {
			return false
		}
		from = to
	}
	return true
}

// route finds the text of the route of r, and writes it anew where the slot holds another's, in
// the memory of that. The names of a route are mostly the same strings, so that their addresses
// find the slot; a clash costs what a line without this costs.
func (f *format) route(r *Record, port string, m *memo) *routeText {
	slot := (addressOf(r.ServerURL) ^ addressOf(r.Router)<<5 ^ addressOf(r.EntryPoint)<<9) * 0x9e3779b97f4a7c15 >> 40
	t, names := &m.routes[slot&(memoSize-1)], routeNames(r, port)
	if t.is(f, r, &names) {
		return t
	}
	t.format, t.secure, t.hostless, t.retries, t.key = f, r.TLSVersion != 0, r.Host == "", r.Retries, t.key[:0]
	for i, s := range names {
		t.key = append(t.key, s...)
		t.ends[i] = len(t.key)
	}
	l := lineOfJSON{t.text[:0], f}
	if r.Host != "" {
		l.value(fRequestPort, port)
	}
	l.text(fRequestProtocol, r.Proto)
	if t.secure {
		l.text(fRequestScheme, "https")
	} else {
		l.text(fRequestScheme, "http")
	}
	l.number(fRetryAttempts, int64(r.Retries))
	l.text(fRouterName, r.Router)
	l.text(fServiceAddr, r.ServerAddr)
	if r.ServerURL != "" {
		l.text(fServiceName, r.balancer())
	}
	l.text(fServiceURL, r.ServerURL)
	t.text = l.b
	l.b = t.entry[:0]
	l.text(fEntryPointName, r.EntryPoint)
	t.entry = append(l.b, `"level":"info","msg":"",`...)
	return t
}
