// Package testbrowser drives a headless Chromium for tests, by the protocol of its developer
// tools. Tests are skipped where no Chromium is installed, unless SLUICE_REQUIRE_BROWSER is set.
package testbrowser

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// patience bounds every wait. Machines of continuous integration are slow.
const patience = 30 * time.Second

// Page is one tab of a browser of its own. Its methods end the test when they fail. It is for
// the goroutine of the test only.
type Page struct {
	t    testing.TB
	conn *websocket.Conn
	id   int

	mu      sync.Mutex
	answers map[int]chan reply
	faults  []string
	asked   []string
	gone    error
}

type reply struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// Path returns the path of Chromium; without one it skips the test, or fails it where
// SLUICE_REQUIRE_BROWSER is set.
func Path(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("SLUICE_REQUIRE_BROWSER") != "" {
		t.Fatal("no browser is installed ('apt install chromium')")
	}
	t.Skip("no browser is installed ('apt install chromium')")
	return ""
}

// Open starts a browser with an empty tab; both end with the test.
func Open(t testing.TB) *Page {
	t.Helper()
	path, profile := Path(t), t.TempDir()
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
		"--remote-debugging-port=0", "--remote-allow-origins=*", "--user-data-dir="+profile, "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+profile)
	// Its many processes are a group, so that none is left.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		removeAll(profile)
	})
	p := &Page{t: t, answers: map[int]chan reply{}}
	conn, err := websocket.Dial(tab(t, profile), "", "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	p.conn = conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.read()
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	for _, domain := range []string{"Page", "Runtime", "Log", "Network", "Accessibility"} {
		p.call(domain+".enable", nil, nil)
	}
	return p
}

// removeAll takes the profile away although processes of the browser may still be dying over it.
func removeAll(dir string) {
	for range 50 {
		if os.RemoveAll(dir) == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// tab waits for the browser and returns the address of its tab.
func tab(t testing.TB, profile string) string {
	t.Helper()
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var b []byte
		if b, last = os.ReadFile(filepath.Join(profile, "DevToolsActivePort")); last != nil {
			continue
		}
		port, _, _ := strings.Cut(string(b), "\n")
		var tabs []struct {
			Type string `json:"type"`
			URL  string `json:"webSocketDebuggerUrl"`
		}
		if last = fetch("http://127.0.0.1:"+port+"/json/list", &tabs); last != nil {
			continue
		}
		for _, one := range tabs {
			if one.Type == "page" {
				return one.URL
			}
		}
	}
	t.Fatalf("the browser does not start: %v", last)
	return ""
}

func fetch(url string, into any) error {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	return json.NewDecoder(r.Body).Decode(into)
}

// read takes what the browser sends until the connection ends.
func (p *Page) read() {
	for {
		var m reply
		if err := websocket.JSON.Receive(p.conn, &m); err != nil {
			p.mu.Lock()
			p.gone = err
			for _, answer := range p.answers {
				close(answer)
			}
			p.answers = nil
			p.mu.Unlock()
			return
		}
		p.mu.Lock()
		if answer := p.answers[m.ID]; m.Method == "" && answer != nil {
			delete(p.answers, m.ID)
			answer <- m
		} else {
			p.note(m)
		}
		p.mu.Unlock()
	}
}

// note keeps the events that tests ask for: what was loaded, what went wrong.
func (p *Page) note(m reply) {
	var e struct {
		Type    string `json:"type"`
		Request struct {
			URL string `json:"url"`
		} `json:"request"`
		Entry struct {
			Level, Text, URL string
		} `json:"entry"`
		Args []struct {
			Value       any    `json:"value"`
			Description string `json:"description"`
		} `json:"args"`
		Exception struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	if json.Unmarshal(m.Params, &e) != nil {
		return
	}
	switch {
	case m.Method == "Network.requestWillBeSent":
		p.asked = append(p.asked, e.Request.URL)
	case m.Method == "Runtime.exceptionThrown":
		p.faults = append(p.faults, e.Exception.Text+" "+e.Exception.Exception.Description)
	case m.Method == "Log.entryAdded" && e.Entry.Level == "error":
		p.faults = append(p.faults, e.Entry.Text+" "+e.Entry.URL)
	case m.Method == "Runtime.consoleAPICalled" && e.Type == "error":
		p.faults = append(p.faults, fmt.Sprint(e.Args))
	}
}

// call runs a method of the protocol and decodes its result into out, unless that is nil.
func (p *Page) call(method string, params map[string]any, out any) {
	p.t.Helper()
	if err := p.try(method, params, out); err != nil {
		p.t.Fatalf("%s %v: %v", method, params, err)
	}
}

func (p *Page) try(method string, params map[string]any, out any) error {
	answer := make(chan reply, 1)
	p.mu.Lock()
	if p.gone != nil {
		p.mu.Unlock()
		return p.gone
	}
	p.id++
	id := p.id
	p.answers[id] = answer
	p.mu.Unlock()
	if err := websocket.JSON.Send(p.conn, map[string]any{"id": id, "method": method, "params": params}); err != nil {
		return err
	}
	select {
	case m, ok := <-answer:
		if !ok {
			return p.gone
		}
		if m.Error != nil {
			return fmt.Errorf("%s", m.Error.Message)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(m.Result, out)
	case <-time.After(patience):
		return fmt.Errorf("no answer within %v", patience)
	}
}

// Goto opens an address.
func (p *Page) Goto(url string) {
	p.t.Helper()
	var r struct {
		ErrorText string `json:"errorText"`
	}
	if p.call("Page.navigate", map[string]any{"url": url}, &r); r.ErrorText != "" {
		p.t.Fatalf("%s: %s", url, r.ErrorText)
	}
}

// Eval runs an expression, waits for it if it is a promise, and decodes its value into out,
// unless that is nil.
func (p *Page) Eval(expression string, out any) {
	p.t.Helper()
	if err := p.eval(expression, out); err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
}

func (p *Page) eval(expression string, out any) error {
	var r struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	err := p.try("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	switch {
	case err != nil:
		return err
	case r.Exception != nil:
		return fmt.Errorf("%s", r.Exception.Exception.Description)
	case out == nil:
		return nil
	}
	return json.Unmarshal(r.Result.Value, out)
}

// Wait waits until an expression is true.
func (p *Page) Wait(expression string) {
	p.t.Helper()
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var yes bool
		if last = p.eval("Boolean("+expression+")", &yes); last == nil && yes {
			return
		}
	}
	var text string
	_ = p.eval("document.body.innerText", &text)
	p.t.Fatalf("never true: %s (%v); the page:\n%s", expression, last, text)
}

// Sees waits until the page shows a text.
func (p *Page) Sees(text string) {
	p.t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Wait("document.body.innerText.includes(" + string(quoted) + ")")
}

// Size sets the size of the window, in pixels.
func (p *Page) Size(width, height int) {
	p.t.Helper()
	p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// Prefer sets a media feature, such as "prefers-color-scheme" to "dark".
func (p *Page) Prefer(feature, value string) {
	p.t.Helper()
	p.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": feature, "value": value}}}, nil)
}

// Press presses and releases a key, such as "Tab", "Enter" or "/".
func (p *Page) Press(key string) {
	p.t.Helper()
	params := map[string]any{"type": "keyDown", "key": key}
	switch key {
	case "Tab":
		params["windowsVirtualKeyCode"] = 9
	case "Enter":
		params["windowsVirtualKeyCode"], params["text"] = 13, "\r"
	default:
		params["text"] = key
	}
	p.call("Input.dispatchKeyEvent", params, nil)
	p.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key}, nil)
}

// Type types a text where the focus is.
func (p *Page) Type(text string) {
	p.t.Helper()
	p.call("Input.insertText", map[string]any{"text": text}, nil)
}

// Node is what a screen reader is told of a part of the page.
type Node struct{ Role, Name string }

// Nodes are the parts of the page that a screen reader is told of.
func (p *Page) Nodes() []Node {
	p.t.Helper()
	type value struct {
		Value any `json:"value"`
	}
	var tree struct {
		Nodes []struct {
			Ignored    bool
			Role, Name value
		}
	}
	p.call("Accessibility.getFullAXTree", nil, &tree)
	var out []Node
	for _, n := range tree.Nodes {
		if !n.Ignored {
			role, _ := n.Role.Value.(string)
			name, _ := n.Name.Value.(string)
			out = append(out, Node{role, name})
		}
	}
	return out
}

// Screenshot writes a picture of the whole page.
func (p *Page) Screenshot(file string) {
	p.t.Helper()
	var r struct {
		Data string `json:"data"`
	}
	p.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &r)
	b, err := base64.StdEncoding.DecodeString(r.Data)
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// Faults are the errors that the page wrote to its console, that it threw, and that the browser
// had with it, such as what a content security policy refused.
func (p *Page) Faults() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.faults...)
}

// Asked are the addresses that the page has asked for.
func (p *Page) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.asked...)
}
