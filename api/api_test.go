package api

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// subset reports where want is not contained in got.
func subset(want, got any, at string) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return at + ": not an object"
		}
		for k, v := range w {
			if s := subset(v, g[k], at+"/"+k); s != "" {
				return s
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return at + ": another length"
		}
		for i := range w {
			if s := subset(w[i], g[i], at); s != "" {
				return s
			}
		}
		return ""
	}
	if !reflect.DeepEqual(want, got) {
		b, _ := json.Marshal(got)
		return at + ": got " + string(b)
	}
	return ""
}

func TestItems(t *testing.T) {
	h := New(shopOptions())
	tests := []struct {
		path string
		want string
	}{
		{"/api/http/routers/shop@file", `{"entryPoints":["web"],"middlewares":["pfx@file","auth@file"],"name":"shop@file",
			"priority":50,"priorityStr":"50","provider":"file","rule":"Host(` + "`shop.test`" + `)","service":"cart","status":"enabled","using":["web"]}`},
		{"/api/http/routers/blog@file", `{"tls":{"options":"default"}}`},
		{"/api/http/routers/lost@file", `{"status":"disabled","error":["service not found"]}`},
		{"/api/http/routers/a%2Fb%20c@docker", `{"name":"a/b c@docker","provider":"docker"}`},
		{"/api/http/routers/api@internal", `{"priorityStr":"9223372036854775806"}`},
		{"/api/http/services/cart@file", `{"loadBalancer":{"passHostHeader":true,"responseForwarding":{"flushInterval":"100ms"},
			"servers":[{"url":"http://10.0.0.1:80"},{"url":"http://10.0.0.2:80","weight":3}],"strategy":"wrr"},
			"name":"cart@file","provider":"file","serverStatus":{"http://10.0.0.1:80":"UP","http://10.0.0.2:80":"DOWN"},
			"status":"enabled","type":"loadbalancer","usedBy":["shop-admin@file","shop@file"]}`},
		{"/api/http/services/copy@file", `{"mirroring":{"mirrorBody":true,"service":"cart"},"type":"mirroring"}`},
		{"/api/http/services/noop@internal", `{"name":"noop@internal","provider":"internal","status":"enabled"}`},
		{"/api/http/middlewares/auth@file", `{"basicAuth":{"realm":"lab","users":["ann:secret-hash"]},"type":"basicauth","provider":"file"}`},
		{"/api/tcp/routers/named@file", `{"tls":{"passthrough":true},"service":"raw"}`},
		{"/api/tcp/services/raw@file", `{"type":"loadbalancer","serverStatus":{"10.0.0.4:5432":"UP"}}`},
		{"/api/tcp/middlewares/lim@file", `{"inFlightConn":{"amount":3},"type":"inflightconn"}`},
		{"/api/udp/routers/u@file", `{"entryPoints":["udp"],"service":"dgram","provider":"file"}`},
		{"/api/udp/services/dgram@file", `{"loadBalancer":{"servers":[{"address":"10.0.0.5:53"}]},"type":"loadbalancer"}`},
		{"/api/entrypoints/web", `{"address":":80","name":"web","forwardedHeaders":{},
			"http":{"maxHeaderBytes":1048576,"sanitizePath":true,"underscoreHeadersStrategy":"keep"},
			"http2":{"maxConcurrentStreams":250,"maxDecoderHeaderTableSize":4096,"maxEncoderHeaderTableSize":4096},
			"transport":{"lifeCycle":{"graceTimeOut":"10s"},"respondingTimeouts":{"idleTimeout":"3m0s","readTimeout":"1m0s"}},
			"udp":{"timeout":"3s"}}`},
		{"/api/overview", `{"http":{"routers":{"total":7,"warnings":1,"errors":1},"services":{"total":6,"warnings":0,"errors":0},
			"middlewares":{"total":2,"warnings":0,"errors":0}},"tcp":{"routers":{"total":1,"warnings":0,"errors":0}},
			"features":{"accessLog":true,"metrics":"Prometheus","tracing":""},"providers":["Docker","File"]}`},
		{"/api/version", `{"Version":"1.2.3","startDate":"2024-01-01T00:00:00Z"}`},
		{"/api/rawdata", `{"routers":{"lost@file":{"status":"disabled"}},"services":{"cart@file":{"serverStatus":{"http://10.0.0.2:80":"DOWN"}}},
			"tcpServices":{"raw@file":{"status":"enabled"}},"udpServices":{"dgram@file":{"status":"enabled"}},"tcpMiddlewares":{"lim@file":{"status":"enabled"}}}`},
	}
	for _, tt := range tests {
		w := get(t, h, tt.path)
		var want any
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(tt.path, err)
		}
		if s := subset(want, decode[any](t, w), ""); w.Code != 200 || s != "" {
			t.Errorf("%s: %d %s", tt.path, w.Code, s)
		}
	}
	if raw := get(t, h, "/api/rawdata").Body.String(); strings.Contains(raw, `"type"`) {
		t.Error("rawdata names kinds, which the reference does not")
	}
}

// namesOf gets a list and returns the names in it.
func namesOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var list []string
	for _, object := range decode[[]map[string]any](t, w) {
		list = append(list, strings.TrimSuffix(object["name"].(string), "@file"))
	}
	return strings.Join(list, " ")
}

func TestLists(t *testing.T) {
	h := New(shopOptions())
	const routers = "/api/http/routers"
	tests := []struct{ path, names, next string }{
		{routers, "a/b c@docker api@internal blog half lost shop-admin shop", "1"},
		{routers + "?per_page=2", "a/b c@docker api@internal", "2"},
		{routers + "?per_page=2&page=3", "lost shop-admin", "4"},
		{routers + "?per_page=2&page=4", "shop", "1"},
		{routers + "?per_page=7&page=1", "a/b c@docker api@internal blog half lost shop-admin shop", "1"},
		{routers + "?page=", "a/b c@docker api@internal blog half lost shop-admin shop", "1"},
		{routers + "?search=SHOP", "shop-admin shop", "1"},
		{routers + "?search=blog.test", "blog", "1"},
		{routers + "?search=cart", "", "1"},
		{routers + "?status=DISABLED", "lost", "1"},
		{routers + "?status=odd", "", "1"},
		{routers + "?status=enabled&search=odd", "a/b c@docker", "1"},
		{routers + "?serviceName=cart@file", "a/b c@docker shop-admin shop", "1"},
		{routers + "?serviceName=cart", "shop-admin shop", "1"},
		{routers + "?middlewareName=auth@file", "shop", "1"},
		{routers + "?middlewareName=auth", "", "1"},
		{routers + "?sortBy=priority&direction=desc&per_page=3", "api@internal shop shop-admin", "2"},
		{routers + "?sortBy=priority&per_page=3", "lost a/b c@docker blog", "2"},
		{routers + "?sortBy=provider&direction=asc&per_page=2", "a/b c@docker blog", "2"},
		{routers + "?provider=Docker", "a/b c@docker", "1"},
		{routers + "?provider=internal&search=api", "api@internal", "1"},
		{routers + "?sortBy=nothing&direction=asc&per_page=1", "a/b c@docker", "2"},
		{routers + "?direction=up&per_page=1", "shop", "2"}, // whatever is not "asc" goes down
		{routers + "?direction=ASC&per_page=1", "shop", "2"},
		{"/api/http/services?search=art", "cart", "1"},
		{"/api/http/services?search=10.0", "", "1"},
		{"/api/http/services?sortBy=servers&direction=desc&per_page=2", "cart pages", "2"},
		{"/api/http/services?sortBy=servers&per_page=4", "api@internal copy noop@internal spread", "2"}, // balancers alone have servers
		{"/api/http/services?sortBy=type&per_page=3", "api@internal noop@internal cart", "2"},
		{"/api/http/middlewares?search=addprefix", "", "1"},
		{"/api/tcp/routers?search=db", "named", "1"},
		{"/api/udp/services?search=gram", "dgram", "1"},
		{"/api/entrypoints", "web", "1"},
		{"/api/entrypoints?search=nothing&status=disabled&direction=desc", "web", "1"},
		{"/api/certificates", "", "1"},
	}
	for _, tt := range tests {
		w := get(t, h, tt.path)
		if got := namesOf(t, w); w.Code != 200 || got != tt.names || w.Header().Get("X-Next-Page") != tt.next {
			t.Errorf("%s: %d, %q, next %s; want %q, %s", tt.path, w.Code, got, w.Header().Get("X-Next-Page"), tt.names, tt.next)
		}
	}
}

// TestSortByEntryPoints: the column is how many there are.
func TestSortByEntryPoints(t *testing.T) {
	rows := []row{{name: "a", entryPoints: 2}, {name: "b", entryPoints: 1}, {name: "c", entryPoints: 2}}
	order(rows, "entryPoints", "desc")
	if got := rows[0].name + rows[1].name + rows[2].name; got != "cab" {
		t.Error(got)
	}
}

// TestHead: the reference's paths answer GET alone.
func TestHead(t *testing.T) {
	h := New(shopOptions())
	for path, want := range map[string]int{"/api/version": 405, "/api/http/routers": 405, "/api/http/routers/shop@file": 405, "/api/sluice/status": 200, "/dashboard/": 200} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodHead, path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

// TestFeatures: the overview names what is on as the reference does.
func TestFeatures(t *testing.T) {
	for want, c := range map[features]*config.Static{
		{}:                                 {},
		{Metrics: "Prometheus"}:            {Metrics: &config.Metrics{Prometheus: &config.Prometheus{}, StatsD: &config.StatsD{}}},
		{Metrics: "StatsD"}:                {Metrics: &config.Metrics{StatsD: &config.StatsD{}}},
		{Metrics: "Datadog"}:               {Metrics: &config.Metrics{Datadog: &config.Datadog{}}},
		{Metrics: "InfluxDB2"}:             {Metrics: &config.Metrics{InfluxDB2: &config.InfluxDB2{}}},
		{Metrics: "OTLP", Tracing: "OTLP"}: {Metrics: &config.Metrics{OTLP: &config.OTLPMetrics{}}, Tracing: &config.Tracing{}},
		{AccessLog: true}:                  {AccessLog: &config.AccessLog{}},
	} {
		if got := featuresOf(c); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

// TestHomeIsForReaders: the way from / to the dashboard is not for other methods.
func TestHomeIsForReaders(t *testing.T) {
	h := New(shopOptions())
	for method, want := range map[string]int{http.MethodGet: 302, http.MethodHead: 302, http.MethodPost: 405, http.MethodDelete: 405} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/", nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", method, w.Code, want)
		}
	}
}

// TestTotal counts what the query keeps, whatever page is shown.
func TestTotal(t *testing.T) {
	h := New(shopOptions())
	for path, want := range map[string]string{
		"/api/http/routers": "7", "/api/http/routers?per_page=2&page=2": "7", "/api/http/routers?search=shop&per_page=1": "2",
		"/api/http/routers?search=nothing": "0", "/api/udp/services": "1",
	} {
		if got := get(t, h, path).Header().Get("X-Total-Count"); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	h := New(shopOptions())
	tests := []struct {
		path    string
		status  int
		message string
	}{
		{"/api/http/routers?page=0", 400, "invalid request: page: 0"},
		{"/api/http/routers?page=-1", 400, "invalid request: page: -1"},
		{"/api/http/routers?page=x", 400, "invalid request: page: 0"},
		{"/api/http/routers?per_page=0", 400, "invalid request: per_page: 0"},
		{"/api/http/routers?page=99", 400, "invalid request: page: 99, per_page: 100"},
		{"/api/http/routers?page=9223372036854775807&per_page=9223372036854775807", 400,
			"invalid request: page: 9223372036854775807, per_page: 9223372036854775807"},
		{"/api/udp/services?page=7", 400, "invalid request: page: 7, per_page: 100"},
		{"/api/http/routers/none@file", 404, "router not found: none@file"},
		{"/api/http/services/none", 404, "service not found: none"},
		{"/api/http/middlewares/x", 404, "middleware not found: x"},
		{"/api/entrypoints/x", 404, "entry point not found: x"},
		{"/api/certificates/x", 404, "certificate not found: x"},
		{"/api/sluice/explain", 404, "explain is not available"},
	}
	for _, tt := range tests {
		w := get(t, h, tt.path)
		got := decode[map[string]string](t, w)["message"]
		if w.Code != tt.status || got != tt.message {
			t.Errorf("%s: %d %q", tt.path, w.Code, got)
		}
	}
	for _, path := range []string{"/api", "/api/", "/api/nope", "/api/http", "/api/http/routers/", "/api/version/",
		"/api/rawdata/x", "/api/udp/middlewares", "/nope", "/debug/vars", "/debug/pprof/", "/dashboard"} {
		if w := get(t, h, path); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestBeforeTheFirstConfiguration(t *testing.T) {
	h := New(Options{})
	for _, path := range []string{"/api/http/routers", "/api/overview", "/api/rawdata", "/api/entrypoints", "/api/sluice/status",
		"/api/sluice/problems", "/api/version", "/api/support-dump"} {
		if w := get(t, h, path); w.Code != 200 {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestDashboardPaths(t *testing.T) {
	tests := []struct {
		api      config.API
		path     string
		prefix   string
		status   int
		location string
	}{
		{config.API{BasePath: "/", Dashboard: true}, "/", "", 302, "/dashboard/"},
		{config.API{BasePath: "/", Dashboard: true}, "/", "/t/", 302, "/t/dashboard/"},
		{config.API{BasePath: "/", Dashboard: true}, "/", "https://evil.test/", 302, "/dashboard/"},
		{config.API{BasePath: "/", Dashboard: true}, "/", "//evil.test", 302, "/dashboard/"},
		{config.API{BasePath: "/", Dashboard: true}, "/dashboard/", "", 200, ""},
		{config.API{BasePath: "/", Dashboard: true}, "/dashboard", "", 404, ""},
		{config.API{BasePath: "/ops", Dashboard: true}, "/ops", "", 302, "/ops/dashboard/"},
		{config.API{BasePath: "/ops", Dashboard: true}, "/ops/", "", 404, ""},
		{config.API{BasePath: "/ops", Dashboard: true}, "/ops/dashboard/", "", 200, ""},
		{config.API{BasePath: "/ops", Dashboard: true}, "/ops/api/version", "", 200, ""},
		{config.API{BasePath: "/ops", Dashboard: true}, "/dashboard/", "", 404, ""},
		{config.API{BasePath: "/ops", Dashboard: true}, "/api/version", "", 404, ""},
		{config.API{BasePath: "/"}, "/dashboard/", "", 404, ""},
		{config.API{BasePath: "/"}, "/", "", 404, ""},
		{config.API{BasePath: "/"}, "/api/version", "", 200, ""},
		{config.API{Debug: true}, "/debug/vars", "", 200, ""},
		{config.API{Debug: true}, "/debug/pprof/", "", 200, ""},
		{config.API{Debug: true, BasePath: "/x"}, "/x/debug/vars", "", 200, ""},
		{config.API{Debug: true, BasePath: "/x"}, "/x/debug/pprof/cmdline", "", 200, ""},
		{config.API{BasePath: "/x"}, "/x/debug/vars", "", 404, ""},
	}
	for _, tt := range tests {
		o := shopOptions()
		o.Static.API = &tt.api
		r := httptest.NewRequest(http.MethodGet, tt.path, nil)
		if tt.prefix != "" {
			r.Header.Set("X-Forwarded-Prefix", tt.prefix)
		}
		w := httptest.NewRecorder()
		New(o).ServeHTTP(w, r)
		if w.Code != tt.status || w.Header().Get("Location") != tt.location {
			t.Errorf("%+v %s: %d %q", tt.api, tt.path, w.Code, w.Header().Get("Location"))
		}
	}
}

// TestEveryMiddlewareKindHasAName keeps the written table complete.
func TestEveryMiddlewareKindHasAName(t *testing.T) {
	kinds := reflect.TypeFor[config.Middleware]()
	for i := range kinds.NumField() {
		f := kinds.Field(i)
		if strings.HasPrefix(f.Tag.Get("json"), "-") {
			continue // no kind: what decoding notes for the router
		}
		var m config.Middleware
		v := reflect.ValueOf(&m).Elem().Field(i)
		if f.Type.Kind() == reflect.Map {
			v.Set(reflect.MakeMap(f.Type))
		} else {
			v.Set(reflect.New(f.Type.Elem()))
		}
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if got := middlewareKind(&m); got != strings.ToLower(key) {
			t.Errorf("%s: %q", key, got)
		}
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	h := New(shopOptions())
	static := get(t, h, "/api/sluice/static").Body.String()
	for _, want := range []string{`"password":"xxxx"`, `"hmacEncoded":"xxxx"`, `"kid":"kid"`, `"address":":80"`, `"graceTimeOut":"10s"`} {
		if !strings.Contains(static, want) {
			t.Errorf("no %s in %s", want, static)
		}
	}
	dump := get(t, h, "/api/support-dump")
	files := untar(t, dump.Body)
	for _, name := range []string{"version.json", "static-config.json", "runtime-config.json", "problems.json"} {
		if !json.Valid(files[name]) {
			t.Errorf("%s is not there or not JSON", name)
		}
	}
	if all := static + string(slices.Concat(slices.Collect(values(files))...)); strings.Contains(all, "hunter2") || strings.Contains(all, "secret-hash") {
		t.Error("a secret is shown")
	}
}

func values(m map[string][]byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

func untar(t *testing.T, packed io.Reader) map[string][]byte {
	t.Helper()
	zip, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for archive := tar.NewReader(zip); ; {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := io.Copy(&b, archive); err != nil {
			t.Fatal(err)
		}
		files[head.Name] = b.Bytes()
	}
}

func TestCertificates(t *testing.T) {
	o := shopOptions()
	good, ending, gone := certificate(t, "good", 90*24*time.Hour), certificate(t, "ending", 5*24*time.Hour), certificate(t, "gone", -time.Hour)
	o.Certificates = func() []*x509.Certificate { return []*x509.Certificate{good, ending, gone, good, nil} }
	h := New(o)
	list := decode[[]certificateView](t, get(t, h, "/api/certificates?sortBy=validUntil"))
	if len(list) != 3 || list[0].Status != "expired" || list[1].Status != "warning" || list[2].Status != "enabled" {
		t.Fatalf("%+v", list)
	}
	one := decode[certificateView](t, get(t, h, "/api/certificates/"+list[2].Name))
	if one.CommonName != "good" || one.KeyType != "ECDSA" || one.KeySize != 256 || !slices.Equal(one.SANs, []string{"10.0.0.9", "good.test"}) {
		t.Errorf("%+v", one)
	}
	for search, want := range map[string]int{"GOOD": 1, "authority": 3, "10.0.0.9": 3, "ending.test": 1, "42": 0} {
		if found := decode[[]certificateView](t, get(t, h, "/api/certificates?search="+search)); len(found) != want {
			t.Errorf("search %s: %d, want %d", search, len(found), want)
		}
	}
	if c := decode[Overview](t, get(t, h, "/api/overview")).Certificates; c != (tally{Total: 3, Warnings: 1, Errors: 1}) {
		t.Errorf("%+v", c)
	}
}

func certificate(t *testing.T, name string, left time.Duration) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(42), Subject: pkix.Name{CommonName: name, Organization: []string{"Authority"}}, DNSNames: []string{name + ".test"},
		IPAddresses: []net.IP{{10, 0, 0, 9}}, NotBefore: time.Now().Add(-100 * 24 * time.Hour), NotAfter: time.Now().Add(left),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Hashes of users are shown, as in the reference; keys and passwords are not, and what is
// shown leaves what runs alone.
func TestKeysAreNotShown(t *testing.T) {
	const key, password = "-----BEGIN PRIVATE KEY-----", "redis-password"
	tls := func() *config.ClientTLS { return &config.ClientTLS{CA: "ca.pem", Cert: "c.pem", Key: key} }
	mws := map[string]*config.MiddlewareInfo{
		"ask@file":  {Middleware: &config.Middleware{ForwardAuth: &config.ForwardAuth{Address: "https://auth.test", TLS: tls()}}},
		"rate@file": {Middleware: &config.Middleware{RateLimit: &config.RateLimit{Average: 3, Redis: &config.Redis{Username: "u", Password: password, TLS: tls()}}}},
	}
	o := shopOptions()
	o.Runtime = func() *config.Runtime { return &config.Runtime{Middlewares: mws} }
	h := New(o)
	for _, path := range []string{"/api/http/middlewares", "/api/http/middlewares/ask@file", "/api/http/middlewares/rate@file", "/api/rawdata"} {
		body := get(t, h, path).Body.String()
		if strings.Contains(body, "PRIVATE") || strings.Contains(body, password) || !strings.Contains(body, `"key":"xxxx"`) {
			t.Errorf("%s shows %s", path, body)
		}
	}
	if mws["ask@file"].ForwardAuth.TLS.Key != key || mws["rate@file"].RateLimit.Redis.Password != password {
		t.Error("the configuration itself was changed")
	}
}
