package decode

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
)

// generator fills structs of the schema at random.
type generator struct {
	r      *rand.Rand
	levels levels
	labels bool
}

func (g *generator) word() string {
	return []string{"a", "web-1", "Host(`x.test`)", "/v{1}", "10.0.0.0/8", "Ünï", "x y", `q"q`, "é=1"}[g.r.IntN(9)]
}

// fill sets v, which holds its defaults, and reports whether it could.
func (g *generator) fill(v reflect.Value, f *field, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		if depth > 5 || g.r.IntN(3) == 0 {
			return
		}
		p := reflect.New(v.Type().Elem())
		setDefaults(p)
		g.fill(p.Elem(), nil, depth+1)
		v.Set(p)
	case reflect.Struct:
		for _, f := range g.levels.of(v.Type()).fields {
			// An empty middleware is refused, and label-only fields have no JSON.
			if f.label && !g.labels || g.labels && f.hidden || g.r.IntN(3) == 0 {
				continue
			}
			g.fill(v.FieldByIndex(f.index), f, depth+1)
		}
	case reflect.Map:
		if depth > 5 || v.Type().Elem().Kind() == reflect.Interface || v.Type().Elem().Kind() == reflect.Map {
			return
		}
		m := reflect.MakeMap(v.Type())
		for i := range 1 + g.r.IntN(2) {
			e := reflect.New(v.Type().Elem()).Elem()
			if e.Kind() == reflect.Pointer {
				p := reflect.New(e.Type().Elem())
				setDefaults(p)
				g.fill(p.Elem(), nil, depth+1)
				e.Set(p)
				if !g.says(p.Elem()) {
					continue
				}
			} else {
				g.fill(e, nil, depth+1)
			}
			m.SetMapIndex(reflect.ValueOf(fmt.Sprintf("n%d", i)), e)
		}
		v.Set(m)
	case reflect.Slice:
		n := 1 + g.r.IntN(2)
		if g.labels && f != nil && f.one != "" {
			n = 1
		}
		s := reflect.MakeSlice(v.Type(), 0, n)
		for range n {
			e := reflect.New(v.Type().Elem())
			setDefaults(e)
			g.fill(e.Elem(), nil, depth+1)
			if e.Elem().Kind() != reflect.Struct || g.says(e.Elem()) {
				s = reflect.Append(s, e.Elem())
			}
		}
		if s.Len() > 0 {
			v.Set(s)
		}
	case reflect.String:
		v.SetString(g.word())
	case reflect.Bool:
		v.SetBool(g.r.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(g.r.Int64N(1 << 40))
	case reflect.Float64:
		v.SetFloat(g.r.Float64())
	}
}

// says reports whether a struct has anything to write: an empty name or element of a
// list cannot be told.
func (g *generator) says(v reflect.Value) bool {
	l := &lister{levels: g.levels, labels: g.labels, f: func(string, string, bool) {}}
	l.group("", v, defaulted(v.Type()))
	return l.any
}

// written is a configuration as key=value.
func written(v any) (out []string) {
	Values(reflect.ValueOf(v).Elem(), func(key, value string, _ bool) { out = append(out, key+"="+value) })
	return out
}

func compare(t *testing.T, what string, want, got []string) {
	t.Helper()
	for i := range want {
		if i >= len(got) || want[i] != got[i] {
			t.Fatalf("%s: want %s, got %v", what, want[i], got[min(i, len(got)):min(i+1, len(got))])
		}
	}
	if len(got) > len(want) {
		t.Fatalf("%s: more than was written: %v", what, got[len(want):])
	}
}

// nested writes values as maps and lists, as files have them.
func nested(v any) any {
	root := map[string]any{}
	Values(reflect.ValueOf(v).Elem(), func(key, value string, _ bool) {
		at := root
		path := strings.Split(key, ".")
		for _, seg := range path[:len(path)-1] {
			next, ok := at[seg].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[seg] = next
			}
			at = next
		}
		at[path[len(path)-1]] = value
	})
	return lists(root)
}

// lists turns maps whose keys are positions into lists.
func lists(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	if _, ok := m["[0]"]; ok {
		out := make([]any, len(m))
		for k, e := range m {
			i, _ := position(k)
			out[i] = lists(e)
		}
		return out
	}
	for k, e := range m {
		m[k] = lists(e)
	}
	return m
}

// What is written as JSON decodes to the same; read as YAML, of which JSON is nearly a
// part, as well.
func TestRoundTripFiles(t *testing.T) {
	for seed := range uint64(120) {
		g := &generator{r: rand.New(rand.NewPCG(seed, 1)), levels: levels{}}
		var d config.Dynamic
		g.fill(reflect.ValueOf(&d).Elem(), nil, 0)
		s := config.NewStatic()
		g.fill(reflect.ValueOf(s).Elem(), nil, 0)
		for _, want := range []any{&d, s} {
			text := asJSON(t, nested(want))
			for _, name := range []string{"x.json", "x.yml"} {
				var got any = &config.Dynamic{}
				if want == any(s) {
					got = config.NewStatic()
				}
				problems, err := File(name, []byte(text), got)
				if err != nil || len(problems) > 0 {
					t.Fatalf("seed %d: %v %v\n%s", seed, err, problems, text)
				}
				compare(t, fmt.Sprintf("seed %d as %s", seed, name), written(want), written(got))
			}
		}
	}
}

// What is written as labels below "sluice." decodes to the same.
func TestRoundTripLabels(t *testing.T) {
	for seed := range uint64(120) {
		g := &generator{r: rand.New(rand.NewPCG(seed, 2)), levels: levels{}, labels: true}
		var want config.Dynamic
		g.fill(reflect.ValueOf(&want).Elem(), nil, 0)
		labels := flatten(&want)
		got, _, problems := Labels(labels, "c")
		for _, p := range problems {
			t.Fatalf("seed %d: %v", seed, p)
		}
		// What cannot be said by label, such as an empty struct, is not said again.
		again := flatten(got)
		if !reflect.DeepEqual(labels, again) {
			a, _ := json.MarshalIndent(labels, "", " ")
			b, _ := json.MarshalIndent(again, "", " ")
			t.Fatalf("seed %d\nwant %s\n got %s", seed, a, b)
		}
	}
}

// flatten writes a configuration as labels.
func flatten(d *config.Dynamic) map[string]string {
	out := map[string]string{}
	(&lister{levels: levels{}, labels: true, f: func(key, value string, _ bool) {
		key = strings.ReplaceAll(key, ".[", "[")
		for _, s := range []string{"http", "tcp", "udp"} {
			if strings.HasPrefix(key, s+".") {
				key = strings.Replace(key, ".loadBalancer.servers[0]", ".loadBalancer.server", 1)
			}
		}
		out["sluice."+key] = value
	}}).group("", reflect.ValueOf(d).Elem(), defaulted(reflect.TypeFor[config.Dynamic]()))
	return out
}

// Flags that list every value of a configuration decode to the same.
func TestRoundTripFlags(t *testing.T) {
	for seed := range uint64(100) {
		g := &generator{r: rand.New(rand.NewPCG(seed, 3)), levels: levels{}}
		want := config.NewStatic()
		g.fill(reflect.ValueOf(want).Elem(), nil, 0)
		var args []string
		Values(reflect.ValueOf(want).Elem(), func(key, value string, _ bool) {
			args = append(args, "--"+strings.ReplaceAll(key, ".[", "[")+"="+value)
		})
		got := config.NewStatic()
		if err := Flags(args, got); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(args, "\n"))
		}
		compare(t, fmt.Sprintf("seed %d", seed), written(want), written(got))
	}
}

func FuzzFlags(f *testing.F) {
	f.Add("--entrypoints.web.address=:80", "--api", "--providers.docker.endpoint")
	f.Add("-entrypoints.w.http.tls.domains[0].main=a", "--", "x")
	f.Add("--a[", "--=", "--entryPoints.web.http.middlewares=a,b")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		s, again := config.NewStatic(), config.NewStatic()
		args := []string{a, b, c}
		err := Flags(args, s)
		if err2 := Flags(args, again); fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Errorf("two decodings differ: %v, %v", err, err2)
		}
		if err == nil && asJSON(t, s) != asJSON(t, again) {
			t.Error("two decodings differ")
		}
		var e *Error
		if err != nil {
			e = err.(*Error)
			if len(e.Problems) == 0 {
				t.Error("an error without a problem")
			}
		}
	})
}

func FuzzEnv(f *testing.F) {
	f.Add("TRAEFIK_ENTRYPOINTS_WEB_ADDRESS", ":80")
	f.Add("SLUICE_LANE", "handler")
	f.Add("TRAEFIK_ENTRYPOINTS_WEB_HTTP_TLS_DOMAINS_0_MAIN", "a")
	f.Fuzz(func(t *testing.T, name, value string) {
		s := config.NewStatic()
		if err := Env([]string{name + "=" + value}, s); err != nil && len(err.(*Error).Problems) == 0 {
			t.Error("an error without a problem")
		}
	})
}
