package telemetry

import (
	"crypto/tls"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
)

func connection() Record {
	return Record{
		Connection: true, EntryPoint: "db", Router: "pg@docker", Service: "pg-svc@docker", ServerAddr: "10.0.0.5:5432",
		Host: "db.test", Peer: netip.MustParseAddrPort("[::ffff:192.0.2.7]:40000"), Status: 200,
		RequestBytes: 12, ResponseBytes: 3456, Start: 1700000000123456789, Duration: 7654321,
	}
}

// connectionLine returns what one connection makes under a configuration.
func connectionLine(t *testing.T, c *config.AccessLog, r Record) string {
	t.Helper()
	static := &config.Static{AccessLog: c, EntryPoints: map[string]*config.EntryPoint{}}
	off := false
	static.EntryPoints["quiet"] = &config.EntryPoint{Observability: &config.EntryPointObservability{AccessLogs: &off}}
	h, err := New(Options{Static: static, Stdout: discard{}, Location: time.FixedZone("", 2*3600)})
	if err != nil {
		t.Fatal(err)
	}
	h.Connection(&r)
	if n := h.Counters().Requests; n != 0 {
		t.Errorf("%d connections counted as requests", n)
	}
	var all strings.Builder
	for _, s := range h.allShards() {
		all.Write(s.take(batch{}).lines)
	}
	return all.String()
}

func TestConnectionLines(t *testing.T) {
	const stamp = "[14/Nov/2023:22:13:20 +0000]"
	drop := func(names ...string) func(*config.AccessLog) {
		return func(c *config.AccessLog) {
			c.Fields.Names = map[string]string{}
			for _, n := range names {
				c.Fields.Names[n] = "drop"
			}
		}
	}
	tests := []struct {
		name   string
		config func(*config.AccessLog)
		record func(*Record)
		want   string
	}{
		{"common", nil, nil, `192.0.2.7 - - ` + stamp + ` "TCP db.test TCP" 200 3456 "-" "-" 1 "pg@docker" "10.0.0.5:5432" 7ms`},
		{"generic", func(c *config.AccessLog) { c.Format = "genericCLF" }, nil, `192.0.2.7 - - ` + stamp + ` "TCP db.test TCP" 200 3456 "-" "-"`},
		{"refused, no name", nil, func(r *Record) { r.Host, r.ServerAddr, r.Status, r.ResponseBytes = "", "", 403, 0 },
			`192.0.2.7 - - ` + stamp + ` "TCP - TCP" 403 0 "-" "-" 1 "pg@docker" "-" 7ms`},
		{"a name that would break the line", nil, func(r *Record) { r.Host = "a\" b\n\x1b" },
			`192.0.2.7 - - ` + stamp + ` "TCP a%22%20b%0A%1B TCP" 200 3456 "-" "-" 1 "pg@docker" "10.0.0.5:5432" 7ms`},
		{"dropped fields", drop("ServerName", "ServiceAddr", "BytesToClient", "ClientHost"), nil,
			`- - - ` + stamp + ` "TCP - TCP" 200 0 "-" "-" 1 "pg@docker" "-" 7ms`},
		{"off", func(c *config.AccessLog) { c.Sluice = nil }, nil, ""},
		{"quiet entry point", nil, func(r *Record) { r.EntryPoint = "quiet" }, ""},
		{"too short", func(c *config.AccessLog) { c.Filters.MinDuration = 8e6 }, nil, ""},
		{"long enough", func(c *config.AccessLog) { c.Format, c.Filters.MinDuration = "genericCLF", 7e6 }, nil,
			`192.0.2.7 - - ` + stamp + ` "TCP db.test TCP" 200 3456 "-" "-"`},
		{"refusals only", func(c *config.AccessLog) { c.Filters.StatusCodes = []string{"400-599"} }, nil, ""},
	}
	for _, tt := range tests {
		c, r := defaults(), connection()
		c.Sluice = &config.AccessLogSluice{TCP: true}
		if tt.config != nil {
			tt.config(c)
		}
		if tt.record != nil {
			tt.record(&r)
		}
		if got := strings.TrimSuffix(connectionLine(t, c, r), "\n"); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestConnectionInJSON(t *testing.T) {
	c, r := defaults(), connection()
	c.Format, c.Sluice = "json", &config.AccessLogSluice{TCP: true}
	r.Reason, r.TLSVersion, r.TLSCipher = "dial_refused", tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256
	r.Host = "d\"b\n"
	want := map[string]any{
		"BytesFromClient": 12.0, "BytesToClient": 3456.0, "ClientAddr": "192.0.2.7:40000", "ClientHost": "192.0.2.7",
		"ClientPort": "40000", "Duration": 7654321.0, "Reason": "dial_refused", "RouterName": "pg@docker", "ServerName": "d\"b\n",
		"ServiceAddr": "10.0.0.5:5432", "ServiceName": "pg-svc@docker", "StartLocal": "2023-11-15T00:13:20.123456789+02:00",
		"StartUTC": "2023-11-14T22:13:20.123456789Z", "TLSCipher": "TLS_AES_128_GCM_SHA256", "TLSVersion": "1.3",
		"entryPointName": "db", "level": "info", "msg": "", "protocol": "tcp", "time": "2023-11-15T00:13:20+02:00",
	}
	check := func(want map[string]any) {
		t.Helper()
		text := connectionLine(t, c, r)
		var got map[string]any
		if err := json.Unmarshal([]byte(text), &got); err != nil || strings.Count(text, "\n") != 1 {
			t.Fatalf("%v in %q", err, text)
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
		if keys := keysOf(text); len(keys) != len(want) || !slices.IsSorted(keys) {
			t.Errorf("not in the order of names: %s", text)
		}
	}
	check(want)
	c.Fields.Names = map[string]string{"ClientAddr": "drop", "ServerName": "drop", "protocol": "drop", "BytesToClient": "drop", "Duration": "redact"}
	for _, name := range []string{"ClientAddr", "ServerName", "protocol", "BytesToClient"} {
		delete(want, name)
	}
	check(want)
}

// keysOf lists the names of a line in their order.
func keysOf(line string) []string {
	var keys []string
	d := json.NewDecoder(strings.NewReader(line))
	for key := true; d.More() || len(keys) == 0; key = !key {
		tok, err := d.Token()
		if err != nil {
			return nil
		}
		if _, ok := tok.(json.Delim); ok {
			key = !key
			continue
		}
		if key {
			keys = append(keys, tok.(string))
		}
	}
	return keys
}
