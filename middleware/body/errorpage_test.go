package body

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

func TestErrors(t *testing.T) {
	var asked *http.Request
	page := func(string) (http.Handler, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = r
			w.Header().Set("X-From-Page", "1")
			_, _ = io.WriteString(w, "the page")
		}), nil
	}
	server := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Server", "1")
		n, _ := strconv.Atoi(r.URL.Query().Get("s"))
		w.WriteHeader(n)
		_, _ = io.WriteString(w, "of the server")
	}
	build := func(cfg config.ErrorPage) string {
		cfg.Service = "page"
		stage, err := NewErrors(&cfg, page, nil)
		if err != nil {
			t.Fatal(err)
		}
		url, _ := serve(t, stage, server)
		return url
	}
	some := build(config.ErrorPage{Status: []string{"404"}, Query: "/e/{status}?u={url}&o={originalStatus}"})
	fixed := build(config.ErrorPage{Status: []string{"404"}, Query: "fixed", ErrorRequestHeaders: &[]string{"x-a"}})
	none := build(config.ErrorPage{Status: []string{"404"}})
	rewritten := build(config.ErrorPage{Status: []string{"404", "500-503"}, Query: "/{status}-{originalStatus}", StatusRewrites: map[string]int{"404": 410, "500-503": 200}})
	for _, c := range []struct {
		url, method, path, body string
		status                  int
		target                  string
	}{
		{some, "GET", "/a/b?s=404&x=1", "", 404, "/e/404?u=http%3A%2F%2Fs.test%2Fa%2Fb%3Fs%3D404%26x%3D1&o=404"},
		{some, "POST", "/p?s=404", "form", 404, "/e/404?u=http%3A%2F%2Fs.test%2Fp%3Fs%3D404&o=404"},
		{some, "HEAD", "/h?s=404", "", 404, "/e/404?u=http%3A%2F%2Fs.test%2Fh%3Fs%3D404&o=404"},
		{some, "GET", "/a?s=500", "", 500, ""},
		{some, "GET", "/a?s=200", "", 200, ""},
		{fixed, "GET", "/a?s=404", "", 404, "/fixed"},
		{none, "GET", "/a/b?s=404", "", 404, "/"},
		{rewritten, "GET", "/a?s=404", "", 410, "/410-404"},
		{rewritten, "GET", "/a?s=502", "", 200, "/200-502"},
	} {
		asked = nil
		resp, body := do(t, c.method, c.url+c.path, c.body, "Host", "s.test", "X-A", "1", "X-B", "2", "If-None-Match", `"x"`)
		if resp.StatusCode != c.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, resp.StatusCode, c.status)
		}
		if c.target == "" {
			if asked != nil || resp.Header.Get("X-Server") != "1" || body != "of the server" {
				t.Errorf("%s: %q %v", c.path, body, resp.Header)
			}
			continue
		}
		if asked == nil || asked.RequestURI != c.target || asked.Method != http.MethodGet || asked.Host != "s.test" {
			t.Errorf("%s %s: asked for %+v, want %s", c.method, c.path, asked, c.target)
			continue
		}
		if exchange.FromContext(asked.Context()) != nil {
			t.Error("the page shares the exchange of the client's request")
		}
		if resp.Header.Get("X-Server") != "" || resp.Header.Get("X-From-Page") != "1" || c.method != "HEAD" && body != "the page" {
			t.Errorf("%s: %q %v", c.path, body, resp.Header)
		}
		wantB := "2"
		if c.url == fixed {
			wantB = ""
		}
		if asked.Header.Get("X-A") != "1" || asked.Header.Get("X-B") != wantB || asked.Header.Get("If-None-Match") != "" {
			t.Errorf("%s: fields of the question %v", c.path, asked.Header)
		}
	}
}

// {url} has the path and the host that the middlewares between have made, as with the reference,
// and the scheme that a trusted proxy reports.
func TestErrorsURL(t *testing.T) {
	for _, c := range []struct {
		path, proto string
		bare        bool
		want        string
	}{
		{"/b%2Fc", "", false, "http://other.test/b%2Fc?x=1"},
		{"/v2/a", "https", false, "https://other.test/v2/a?x=1"},
		{"/a", "WSS", false, "https://other.test/a?x=1"},
		{"/a", "ws", false, "http://other.test/a?x=1"},
		{"/", "http", true, "http://other.test?x=1"},
	} {
		var asked *http.Request
		stage, err := NewErrors(&config.ErrorPage{Status: []string{"404"}, Service: "page", Query: "/e?{url}"}, func(string) (http.Handler, error) {
			return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r }), nil
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ex := &exchange.Exchange{}
		ex.Req.Host, ex.Req.Path, ex.Req.Query = "s.test", "/a/b", "x=1"
		if c.proto != "" {
			ex.Req.Fields.Add("X-Forwarded-Proto", c.proto)
		}
		h := stage(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			ex.Req.Host, ex.Req.Path, ex.Log.Bare = "other.test", c.path, c.bare
			w.WriteHeader(http.StatusNotFound)
		}))
		r := httptest.NewRequest(http.MethodGet, "/a/b?x=1", nil)
		h.ServeHTTP(httptest.NewRecorder(), r.WithContext(exchange.NewContext(r.Context(), ex)))
		if got, _ := url.QueryUnescape(asked.URL.RawQuery); got != c.want || asked.Host != "other.test" {
			t.Errorf("%s: %q of %s, want %q", c.path, got, asked.Host, c.want)
		}
	}
}

// The page is asked with the fields that the middlewares between have left.
func TestErrorsAskWithWhatWasSent(t *testing.T) {
	for _, sent := range []bool{true, false} {
		var asked http.Header
		stage, err := NewErrors(&config.ErrorPage{Status: []string{"401"}, Service: "page"}, func(string) (http.Handler, error) {
			return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.Header }), nil
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		logged := 0
		ex := &exchange.Exchange{}
		ex.Log.Sending = func(*exchange.Request) { logged++ }
		ex.Req.Fields.Add("Authorization", "Basic x")
		h := stage(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			ex.Req.Fields.Del("Authorization")
			ex.Req.Fields.Add("X-User", "ann")
			if sent {
				ex.Log.Sending(&ex.Req)
				ex.Req.Fields.Add("X-Forwarded-For", "192.0.2.1") // as a lane does
			}
			w.WriteHeader(http.StatusUnauthorized)
		}))
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Basic x")
		h.ServeHTTP(httptest.NewRecorder(), r.WithContext(exchange.NewContext(r.Context(), ex)))
		if len(asked) != 1 || asked.Get("X-User") != "ann" {
			t.Errorf("sent %v: the page was asked with %v", sent, asked)
		}
		if ex.Log.Sending(&ex.Req); sent && logged != 2 || !sent && logged != 1 {
			t.Errorf("sent %v: what was there before was called %d times", sent, logged)
		}
	}
}

func TestErrorsOptions(t *testing.T) {
	fine := func(string) (http.Handler, error) { return http.NotFoundHandler(), nil }
	unknown := func(string) (http.Handler, error) { return nil, errors.New("there is no such service") }
	for want, c := range map[string]struct {
		cfg     config.ErrorPage
		service func(string) (http.Handler, error)
	}{
		"service: is empty":        {config.ErrorPage{Status: []string{"404"}}, fine},
		"there is no such service": {config.ErrorPage{Status: []string{"404"}, Service: "x"}, unknown},
		"status: ":                 {config.ErrorPage{Status: []string{"abc"}, Service: "x"}, fine},
		"statusRewrites: ":         {config.ErrorPage{StatusRewrites: map[string]int{"404": 7}, Service: "x"}, fine},
		"no service can":           {config.ErrorPage{Service: "x"}, nil},
	} {
		if _, err := NewErrors(&c.cfg, c.service, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, want)
		}
	}
	var said []string
	warn := option.Warn(func(field, _, _ string) { said = append(said, field) })
	if _, err := NewErrors(&config.ErrorPage{Service: "x", ErrorRequestHeaders: &[]string{}}, fine, warn); err != nil || strings.Join(said, ",") != "status,errorRequestHeaders" {
		t.Errorf("%v %q", err, said)
	}
}
