package file

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// route is a file with one router.
func route(name string) string {
	return "http:\n  routers:\n    " + name + ": {rule: \"Host(`" + name + ".test`)\", service: " + name + "}\n  services:\n    " + name +
		": {loadBalancer: {servers: [{url: \"http://127.0.0.1:1\"}]}}\n"
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// swap writes a file as editors do: another file, renamed over it.
func swap(t *testing.T, name, text string) {
	t.Helper()
	write(t, name+".tmp~", text)
	if err := os.Rename(name+".tmp~", name); err != nil {
		t.Fatal(err)
	}
}

type view struct {
	t    *testing.T
	p    *Provider
	out  chan provider.Update
	last provider.Update
}

func watch(t *testing.T, cfg config.FileProvider) *view {
	t.Helper()
	v := &view{t: t, out: make(chan provider.Update), p: New(&cfg, Options{Log: zerolog.New(zerolog.NewTestWriter(t))})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := v.p.Run(ctx, v.out); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		for {
			select {
			case <-v.out:
			case <-done:
				return
			}
		}
	})
	return v
}

// show names the routers, and behind a bar the codes of the problems.
func show(u provider.Update) string {
	var out, bad []string
	if u.Config == nil {
		out = []string{"nothing"}
	} else {
		out = slices.Sorted(maps.Keys(u.Config.HTTP.Routers))
	}
	for _, p := range u.Problems {
		bad = append(bad, p.Code)
	}
	return strings.TrimSpace(strings.Join(out, " ") + " | " + strings.Join(bad, " "))
}

func (v *view) await(want string) {
	v.t.Helper()
	limit := time.After(5 * time.Second)
	for {
		select {
		case v.last = <-v.out:
			if show(v.last) == want {
				return
			}
		case <-limit:
			v.t.Fatalf("the provider says %q, want %q: %v", show(v.last), want, v.last.Problems)
		}
	}
}

// still fails if the provider says anything in the next d.
func (v *view) still(d time.Duration) {
	v.t.Helper()
	select {
	case u := <-v.out:
		v.t.Errorf("unexpected: %q %v", show(u), u.Problems)
	case <-time.After(d):
	}
}

func TestFormatsAndDirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/1.yml", route("a"))
	write(t, dir+"/sub/deep/2.yaml", route("b"))
	write(t, dir+"/3.toml", "[http.routers.c]\nrule = \"Host(`c`)\"\nservice = \"a\"\n")
	write(t, dir+"/4.json", `{"HTTP": {"routers": {"d": {"rule": "Host(`+"`d`"+`)", "service": "a"}}}}`)
	write(t, dir+"/.hidden.yml", route("h"))
	write(t, dir+"/acme.json", `{"le": {"Account": {}}}`)
	write(t, dir+"/note.txt", "http: [}")
	write(t, dir+"/5.yml.bak", "x")
	write(t, dir+"/.#6.yml", "x")
	v := watch(t, config.FileProvider{Directory: dir})
	v.await("a b c d h |")
}

func TestFilename(t *testing.T) {
	dir := t.TempDir()
	name := dir + "/x.yml"
	write(t, name, route("a"))
	v := watch(t, config.FileProvider{Filename: name, Watch: true})
	v.await("a |")
	write(t, name, route("b")) // in place
	v.await("b |")
	swap(t, name, route("c"))
	v.await("c |")
	write(t, dir+"/other.yml", route("d")) // a neighbour is none of ours
	v.still(100 * time.Millisecond)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	v.await("c | unreadable_file")
	write(t, name, route("e"))
	v.await("e |")
}

func TestBadFiles(t *testing.T) {
	for _, c := range []struct{ name, text, source, code string }{
		{"syntax.yml", "http: [}", ":1:", config.CodeUnreadable},
		{"key.yml", route("a") + "  colour: red\n", ":6:3", config.CodeUnknownKey},
		{"template.yml", "http:\n  routers:\n    a: {rule: \"{{ nosuch }}\"}\n", ":3", config.CodeUnreadable},
		{"exec.yml", "\n{{ index (list 1) 5 }}\n", ":2:", config.CodeUnreadable},
		{"long.yml", "{{ range until 100000 }}{{ repeat 10000 \"x\" }}{{ end }}", "long.yml", config.CodeUnreadable},
		{"x.conf", route("a"), "x.conf", config.CodeUnreadable},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/"+c.name, c.text)
			v := watch(t, config.FileProvider{Filename: dir + "/" + c.name})
			v.await("| " + c.code)
			if p := v.last.Problems[0]; !strings.HasPrefix(p.Source, "file "+dir+"/"+c.name) || !strings.Contains(p.Source, c.source) {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestOneBadFileCostsItselfAndKeepsWhatItSaid(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/1.yml", route("a"))
	write(t, dir+"/2.yml", "http: [}")
	v := watch(t, config.FileProvider{Directory: dir, Watch: true})
	v.await("a | unreadable_file")
	write(t, dir+"/2.yml", route("b"))
	v.await("a b |")
	swap(t, dir+"/1.yml", route("c")+"  wrong: 1\n")
	v.await("a b | unknown_key")
	swap(t, dir+"/1.yml", "http: [}")
	v.await("a b | unreadable_file")
	swap(t, dir+"/1.yml", route("c"))
	v.await("b c |")
	if err := os.Remove(dir + "/2.yml"); err != nil {
		t.Fatal(err)
	}
	v.await("c |")
	write(t, dir+"/new/sub/3.yml", route("d")) // directories made later
	v.await("c d |")
	swap(t, dir+"/4.yml", route("c"))
	v.await("c d | conflict conflict")
}

func TestSlowWriterIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	name := dir + "/1.yml"
	write(t, name, route("a"))
	v := watch(t, config.FileProvider{Directory: dir, Watch: true})
	v.await("a |")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Every prefix of this is a good file: only the writer knows that it is not the end.
	text := "http:\n  routers:\n"
	for i := range 8 {
		text += fmt.Sprintf("    r%d: {rule: \"Host(`r%d`)\", service: s}\n", i, i)
	}
	for line := range strings.Lines(text) {
		if _, err := f.WriteString(line); err != nil {
			t.Fatal(err)
		}
		v.still(30 * time.Millisecond)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	v.await("r0 r1 r2 r3 r4 r5 r6 r7 |")
}

func TestEmptiedFileIsBelievedLate(t *testing.T) {
	dir := t.TempDir()
	name := dir + "/1.yml"
	write(t, name, route("a"))
	v := watch(t, config.FileProvider{Directory: dir, Watch: true})
	v.await("a |")
	write(t, name, "")
	v.still(500 * time.Millisecond)
	write(t, name, route("b"))
	v.await("b |")
	write(t, name, "")
	start := time.Now()
	v.await("|")
	if d := time.Since(start); d < 900*time.Millisecond {
		t.Errorf("an empty file counted after %v", d)
	}
}

// TestLinkSwap changes files as orchestrators do: a link to the directory of a version.
func TestLinkSwap(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/..v1/f.yml", route("a"))
	write(t, dir+"/..v2/f.yml", route("b"))
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, name+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
	link("..v1", dir+"/..data")
	link("..data/f.yml", dir+"/f.yml")
	for _, cfg := range []config.FileProvider{{Directory: dir, Watch: true}, {Filename: dir + "/f.yml", Watch: true}} {
		v := watch(t, cfg)
		v.await("a |")
		link("..v2", dir+"/..data")
		v.await("b |")
		link("..v1", dir+"/..data")
		v.await("a |")
	}
}

func TestMissingDirectoryIsAwaited(t *testing.T) {
	dir := t.TempDir() + "/none"
	v := watch(t, config.FileProvider{Directory: dir, Watch: true})
	v.await("nothing | unreadable_file")
	write(t, dir+"/1.yml", route("a"))
	v.await("a |")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	v.await("a | unreadable_file")
	write(t, dir+"/1.yml", route("b"))
	v.await("b |")
}

func TestWatchOffAndReload(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/1.yml", "http: {routers: {a: {rule: \"Host(`{{ env \"FILE_TEST_HOST\" }}`)\", service: s}}}")
	t.Setenv("FILE_TEST_HOST", "one.test")
	v := watch(t, config.FileProvider{Directory: dir})
	v.await("a |")
	write(t, dir+"/2.yml", route("b"))
	v.still(200 * time.Millisecond)
	t.Setenv("FILE_TEST_HOST", "two.test")
	v.p.Reload()
	v.await("a b |")
	if r := v.last.Config.HTTP.Routers["a"].Rule; r != "Host(`two.test`)" {
		t.Error(r)
	}
}

func TestTemplateFunctions(t *testing.T) {
	t.Setenv("FILE_TEST_HOST", "env.test")
	for in, want := range map[string]string{
		"{{ env `FILE_TEST_HOST` }}":                         "env.test",
		"{{ \"SOME.TEST\" | lower | trimSuffix \".test\" }}": "some",
		"{{ range $i, $e := until 3 }}{{ $e }},{{ end }}":    "0,1,2,",
		"{{ normalize \"a_b.c\" }}":                          "a-b-c",
		"{{ index (split \"a,b\" \",\") 1 }}":                "b",
		"no braces { }":                                      "no braces { }",
	} {
		got, p := render("x.yml", []byte(in))
		if p != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", in, got, p, want)
		}
	}
}

func TestUnchangedObjectsKeepTheirPointers(t *testing.T) {
	dir := t.TempDir()
	name := dir + "/1.yml"
	text := "http: {routers: {a: {rule: \"Host(`a`)\", service: s}, b: {rule: \"Host(`b`)\", service: s}}}"
	write(t, name, text)
	v := watch(t, config.FileProvider{Directory: dir, Watch: true})
	v.await("a b |")
	a, b := v.last.Config.HTTP.Routers["a"], v.last.Config.HTTP.Routers["b"]
	write(t, name, strings.Replace(text, "`b`", "`c`", 1))
	v.await("a b |")
	if v.last.Config.HTTP.Routers["a"] != a || v.last.Config.HTTP.Routers["b"] == b {
		t.Error("the unchanged router is another object, or the changed one is the same")
	}
}

// TestChangeToUpdate prints how long a change of a file takes to be sent.
func TestChangeToUpdate(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/1.yml", route("a0"))
	v := watch(t, config.FileProvider{Directory: dir, Watch: true})
	v.await("a0 |")
	var took []time.Duration
	for i := range 15 {
		n := fmt.Sprint("a", i+1)
		start := time.Now()
		swap(t, dir+"/1.yml", route(n))
		v.await(n + " |")
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	t.Logf("from the rename to the update: median %v, worst %v", took[len(took)/2], took[len(took)-1])
}
