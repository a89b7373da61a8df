package decode

import (
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
)

func TestFile(t *testing.T) {
	const want = `{"http":{"routers":{"a":{"entryPoints":["web"],"middlewares":["strip"],"service":"a","rule":"Host(` + "`a.test`" + `)","priority":42,"tls":{}}},` +
		`"services":{"a":{"loadBalancer":{"servers":[{"url":"http://b:1","weight":2}],"strategy":"wrr","healthCheck":{"mode":"http","path":"/","interval":"5s","timeout":"2s","followRedirects":true},"passHostHeader":false,"responseForwarding":{"flushInterval":"100ms"}}}},` +
		`"middlewares":{"strip":{"stripPrefix":{"prefixes":["/one","/two"]}}}}}`
	files := map[string]string{
		"block.yml": "HTTP:\n  Routers:\n    a:\n      RULE: Host(`a.test`)\n      service: a\n      priority: \"42\"\n      middlewares: strip\n      entryPoints: web\n      tls: {}\n" +
			"  middlewares:\n    strip:\n      stripPrefix:\n        prefixes: \"/one, /two\"\n" +
			"  services:\n    a:\n      loadbalancer:\n        passHostHeader: \"false\"\n        healthCheck: {path: /, interval: 5, timeout: \"2s\"}\n        servers:\n        - url: http://b:1\n          weight: \"2\"\n",
		"anchors.yaml": "x-a: &a\n  service: a\n  tls: {}\n  priority: 1\nhttp:\n  routers:\n    a:\n      <<: *a\n      rule: Host(`a.test`)\n      priority: 42\n      middlewares: [strip]\n      entryPoints: [web]\n" +
			"  middlewares: {strip: {stripPrefix: {prefixes: [/one, /two]}}}\n  services: {a: {loadBalancer: {passHostHeader: false, healthCheck: {path: /, interval: 5s, timeout: 2}, servers: [{url: \"http://b:1\", weight: 2}]}}}\n",
		"x.toml": "[http.routers.a]\n rule = \"Host(`a.test`)\"\n service = \"a\"\n priority = 42\n middlewares = \"strip\"\n entryPoints = [\"web\"]\n [http.routers.a.tls]\n" +
			"[http.middlewares.strip.stripPrefix]\nprefixes = [\"/one\", \"/two\"]\n[http.services.a.loadBalancer]\npassHostHeader = false\nhealthCheck = {path = \"/\", interval = 5, timeout = \"2s\"}\n" +
			"[[http.services.a.loadBalancer.servers]]\nurl = 'http://b:1'\nweight = 2\n",
		"x.json": `{"http":{"routers":{"a":{"rule":"Host(` + "`a.test`" + `)","service":"a","priority":42,"middlewares":["strip"],"entryPoints":["web"],"tls":true}},` +
			`"middlewares":{"strip":{"stripPrefix":{"prefixes":["/one","/two"]}}},"services":{"a":{"loadBalancer":{"passHostHeader":false,"healthCheck":{"path":"/","interval":"5s","timeout":"2s"},"servers":[{"url":"http://b:1","weight":2}]}}}}}`,
	}
	for name, text := range files {
		var d config.Dynamic
		problems, err := File(name, []byte(text), &d)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := asJSON(t, d); got != want {
			t.Errorf("%s\n got %s\nwant %s", name, got, want)
		}
		for _, p := range problems {
			if p.Severity == config.Error {
				t.Errorf("%s: %v", name, p)
			}
		}
	}
}

func TestFileProblems(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"a.yml", "http:\n  routers:\n    a: {rule: x, servce: s}\n", "file a.yml:3:18: router a: http.routers.a.servce: unknown key \"servce\"; did you mean http.routers.a.service?"},
		{"a.yml", "http:\n  colour: red\n", "file a.yml:2:3: http.colour: unknown key \"colour\"; known keys: routers, services, middlewares, serversTransports"},
		{"a.yml", "http:\n  routers:\n    a:\n      priority: high\n", "file a.yml:4:7: router a: http.routers.a.priority: \"high\" is not a whole number"},
		{"a.yml", "http:\n  routers:\n    a:\n      rule: [x]\n", "file a.yml:4:7: router a: http.routers.a.rule: must be a single value, is a list"},
		{"a.yml", "http:\n  routers:\n    - rule: x\n", "file a.yml:2:3: http.routers: must be a group of names, is a list"},
		{"a.yml", "http:\n  middlewares:\n    m:\n      basicAuth: {}\n", "file a.yml:4:7: middleware m: http.middlewares.m.basicAuth: is empty: a middleware needs its settings"},
		{"a.yml", "http:\n  routers:\n    a:\n      rule: x\n      tls:\n", "file a.yml:5:7: router a: http.routers.a.tls: has no value and switches nothing on; write tls: {}"},
		{"a.yml", "http:\n  services:\n    s:\n      loadBalancer:\n        servers:\n          url: http://x\n", "file a.yml:5:9: service s: http.services.s.loadBalancer.servers: must be a list, is a group of keys"},
		{"a.yml", "http:\n  services:\n    s:\n      loadBalancer:\n        servers: http://x\n", "file a.yml:5:9: service s: http.services.s.loadBalancer.servers: must be a list of groups (url, weight, preservePath), is a single value"},
		{"a.yml", "http:\n  services:\n    s:\n      loadBalancer:\n        passHostHeader: yes\n", "file a.yml:5:9: service s: http.services.s.loadBalancer.passHostHeader: \"yes\" is neither true nor false; write true"},
		{"a.yml", "- a\n", "file a.yml:1:1: must be a group of keys (http, tcp, udp, tls), is a list"},
		{"a.toml", "[http.routers.a]\nrule = \"x\"\nentrypoint = \"web\"\n", "file a.toml:3:1: router a: http.routers.a.entrypoint: unknown key \"entrypoint\"; did you mean http.routers.a.entryPoints?"},
		{"a.toml", "[[http.services.s.loadBalancer.servers]]\nurl = \"u\"\n[[http.services.s.loadBalancer.servers]]\nuri = \"v\"\n", "file a.toml:4:1: service s: http.services.s.loadBalancer.servers[1].uri: unknown key \"uri\"; did you mean http.services.s.loadBalancer.servers[1].url?"},
		{"a.json", "{\"http\":\n {\"routers\": {\"a\": {\"rul\": \"x\"}}}}", "file a.json:2:21: router a: http.routers.a.rul: unknown key \"rul\"; did you mean http.routers.a.rule?"},
		{"a.yml", "colour: red\n", "file a.yml:1:1: colour: unknown key \"colour\"; known keys: http, tcp, udp, tls"},
	}
	for _, tt := range tests {
		var d config.Dynamic
		problems, err := File(tt.name, []byte(tt.text), &d)
		if err != nil || len(problems) != 1 {
			t.Errorf("%q: %v, %v", tt.text, problems, err)
			continue
		}
		if got := problems[0].String(); got != tt.want {
			t.Errorf("%q\n got %s\nwant %s", tt.text, got, tt.want)
		}
	}
}

func TestFileSyntax(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'j'; c++ {
		prev := string(c - 1)
		bomb += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+prev+",", 9), ",") + "]\n"
	}
	tests := []struct{ name, text, want string }{
		{"a.yml", "http: [}", "file a.yml:1:1: "},
		{"a.yml", "a: 1\nb: [}\n", "file a.yml:2:1: "},
		{"a.yml", "http:\n\trouters:\n", "file a.yml:2:1: found character that cannot start any token; YAML is indented with spaces, not tabs"},
		{"a.yml", "http:\n  routers:\n  routers:\n", "file a.yml:3:3: the key \"routers\" is there twice"},
		{"a.yml", "a: &x [*x]\n", "nested too deeply"},
		{"a.yml", bomb, "aliases stand for too much"},
		{"a.yml", strings.Repeat("{a: ", 200) + strings.Repeat("}", 200), "nested too deeply"},
		{"a.toml", "[http\n", "file a.toml:1:"},
		{"a.toml", "a = 1\na = 2\n", "file a.toml:"},
		{"a.json", "{\"http\": {]", "file a.json:1:"},
		{"a.json", "{\"http\": ", "file a.json:1:"},
		{"a.json", "{} {}", "file a.json:1:"},
		{"a.txt", "", "unknown extension \".txt\""},
	}
	for _, tt := range tests {
		var d config.Dynamic
		_, err := File(tt.name, []byte(tt.text), &d)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %.40q: got %v, want %q", tt.name, tt.text, err, tt.want)
		}
	}
}

func TestFileEmpty(t *testing.T) {
	for name, text := range map[string]string{"a.yml": "", "b.yml": "# x\n---\n", "a.toml": "\n# x\n", "a.json": " \n", "b.json": "null"} {
		var d config.Dynamic
		if problems, err := File(name, []byte(text), &d); err != nil || problems != nil || asJSON(t, d) != "{}" {
			t.Errorf("%s: %v %v", name, problems, err)
		}
	}
}

func TestFileNilAndEmptyLists(t *testing.T) {
	var d config.Dynamic
	_, err := File("a.yml", []byte("http:\n  middlewares:\n    m: {errors: {status: [500], errorRequestHeaders: []}}\n    n: {errors: {status: [500]}}\n"), &d)
	if err != nil {
		t.Fatal(err)
	}
	if h := d.HTTP.Middlewares["m"].Errors.ErrorRequestHeaders; h == nil || len(*h) != 0 {
		t.Errorf("an empty list is not nothing: %v", h)
	}
	if h := d.HTTP.Middlewares["n"].Errors.ErrorRequestHeaders; h != nil {
		t.Errorf("nothing is not an empty list: %v", h)
	}
}

func FuzzFile(f *testing.F) {
	f.Add("a.yml", "http:\n  routers:\n    a: &x {rule: x, tls: {}}\n    b: *x\n")
	f.Add("a.toml", "[http.routers.a]\nrule = \"x\"\n[[http.services.s.loadBalancer.servers]]\nurl='u'\n")
	f.Add("a.json", `{"http":{"routers":{"a":{"rule":"x","priority":1e3}}}}`)
	f.Add("a.toml", "a.b.c = 1\n[a.b]\nd = [{e=1}]\n")
	f.Fuzz(func(t *testing.T, name, text string) {
		var d config.Dynamic
		problems, err := File(name, []byte(text), &d)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "file ") {
				t.Errorf("no place: %v", err)
			}
			return
		}
		for _, p := range problems {
			if p.Code == "" || p.Text == "" || !strings.HasPrefix(p.Source, "file ") {
				t.Errorf("incomplete problem %+v", p)
			}
		}
		// What was decoded, written as JSON, decodes to the same without a problem.
		once := asJSON(t, d)
		var again config.Dynamic
		if _, err := File("x.json", []byte(once), &again); err != nil {
			t.Fatalf("%v\n%s", err, once)
		}
	})
}
