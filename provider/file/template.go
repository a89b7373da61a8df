package file

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider/labels"
)

// maxGenerated bounds what a template may become, in bytes.
const maxGenerated = 16 << 20

// render runs a file as a Go template with the functions of sprig, normalize and the
// split of package strings. A file without "{{" is returned as it is.
func render(name string, data []byte) ([]byte, *config.Problem) {
	return Preview(name, data, nil)
}

// Preview gives what a file becomes as a template. With env, that function stands for the
// environment of the process that will read the file.
func Preview(name string, data []byte, env func(name string) string) ([]byte, *config.Problem) {
	if !bytes.Contains(data, []byte("{{")) {
		return data, nil
	}
	funcs := sprig.TxtFuncMap()
	if env != nil {
		funcs["env"] = env
		funcs["expandenv"] = func(s string) string { return os.Expand(s, env) }
	}
	funcs["normalize"] = labels.Normalize
	funcs["split"] = strings.Split
	tpl, err := template.New("file").Funcs(funcs).Parse(string(data))
	if err != nil {
		return nil, templateProblem(name, err)
	}
	var out limited
	if err := tpl.Execute(&out, struct{}{}); err != nil {
		return nil, templateProblem(name, err)
	}
	return out.Bytes(), nil
}

// limited keeps a template from filling the memory.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxGenerated {
		return 0, fmt.Errorf("it generates more than %d bytes", maxGenerated)
	}
	return l.Buffer.Write(p)
}

// place finds line and column in an error of text/template.
var place = regexp.MustCompile(`^template: file:(\d+)(?::(\d+))?: `)

func templateProblem(name string, err error) *config.Problem {
	p := &config.Problem{Source: "file " + name, Code: config.CodeUnreadable, Severity: config.Error, Text: "template: " + err.Error()}
	if m := place.FindStringSubmatch(err.Error()); m != nil {
		p.Source += ":" + m[1]
		if m[2] != "" {
			p.Source += ":" + m[2]
		}
		p.Text = "template: " + err.Error()[len(m[0]):]
	}
	if strings.Contains(p.Text, "not defined") {
		p.Suggestion = "braces that are not meant as a template are written {{ \"{{\" }}"
	}
	return p
}
