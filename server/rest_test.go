package server

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestRestProvider(t *testing.T) {
	one, _ := backend(t, "one")
	static := strings.Replace(plain, "    address: 127.0.0.1:0\n", "    address: 127.0.0.1:0\n  traefik:\n    address: 127.0.0.1:0\n", 1)
	e := start(t, "auto", strings.Replace(static, "providers:\n", "providers:\n  rest:\n    insecure: true\n", 1), "")
	put := func(text string) string {
		req, err := http.NewRequest(http.MethodPut, "http://"+e.address("traefik")+"/api/providers/rest", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.Status + " " + string(b)
	}
	defer http.DefaultClient.CloseIdleConnections()
	route := func(host string) string {
		return "{\"http\":{\"routers\":{\"a\":{\"rule\":\"Host(`" + host + "`)\",\"service\":\"s\",\"entryPoints\":[\"web\"]}},\"services\":{\"s\":{\"loadBalancer\":{\"servers\":[{\"url\":\"" + one + "\"}]}}}}}"
	}
	for _, host := range []string{"a.test", "b.test"} {
		if got := put(route(host)); !strings.HasPrefix(got, "200 OK {") {
			t.Fatal(got)
		}
		e.eventually(host+" is live", func() bool { return e.get("web", host+"/") == "200 one" })
	}
	if got := e.get("web", "a.test/"); !strings.HasPrefix(got, "404") {
		t.Errorf("a document replaces the one before: %s", got)
	}
	if got := put(`{"http": 1}`); !strings.HasPrefix(got, "400 ") || e.get("web", "b.test/") != "200 one" {
		t.Errorf("a bad document: %s", got)
	}
	if e.runtime().Routers["rest@internal"] == nil || e.runtime().Routers["a@rest"] == nil {
		t.Error("the router of the provider is missing")
	}
}
