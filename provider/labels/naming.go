package labels

import (
	"errors"
	"fmt"
	"strings"
	"text/template"
	"unicode"

	"github.com/Masterminds/sprig/v3"
)

// The labels by which compose names what it starts.
const (
	ComposeProject = "com.docker.compose.project"
	ComposeService = "com.docker.compose.service"
)

// Normalize replaces every run of characters that are neither letters nor digits by
// one dash, and drops it at both ends: "my_shop.eu" becomes "my-shop-eu".
func Normalize(name string) string {
	return strings.Join(strings.FieldsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r)
	}), "-")
}

// AutoName is the name of what a workload gets without asking, and .Name in the default
// rule: compose service and project if both labels are there, else its own name.
func AutoName(name string, labels map[string]string) string {
	service, ok := labels[ComposeService]
	if project, both := labels[ComposeProject]; ok && both {
		name = service + "_" + project
	}
	return Normalize(name)
}

// DefaultRule is the template that gives a rule to routers without one.
type DefaultRule struct{ tpl *template.Template }

// ruleData is what a default rule may use.
type ruleData struct {
	Name          string
	ContainerName string
	Labels        map[string]string
}

// ParseDefaultRule reads a Go template with the functions of sprig and normalize.
func ParseDefaultRule(text string) (*DefaultRule, error) {
	funcs := sprig.TxtFuncMap()
	funcs["normalize"] = Normalize
	tpl, err := template.New("defaultRule").Funcs(funcs).Parse(text)
	if err != nil {
		return nil, templateError(err)
	}
	return &DefaultRule{tpl: tpl}, nil
}

// maxRuleLength bounds what a default rule may become, in bytes.
const maxRuleLength = 64 << 10

// Render gives the rule of a workload. A template that calls itself without end is an error.
func (d *DefaultRule) Render(name, containerName string, labels map[string]string) (string, error) {
	var b limitedBuilder
	if err := d.tpl.Execute(&b, ruleData{Name: name, ContainerName: containerName, Labels: labels}); err != nil {
		return "", templateError(err)
	}
	return b.String(), nil
}

// limitedBuilder keeps a template from filling the memory.
type limitedBuilder struct{ strings.Builder }

func (b *limitedBuilder) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxRuleLength {
		return 0, fmt.Errorf("the rule is longer than %d bytes", maxRuleLength)
	}
	return b.Builder.Write(p)
}

// templateError drops the words of text/template that say nothing to a user.
func templateError(err error) error {
	s := strings.TrimPrefix(err.Error(), "template: ")
	s = strings.Replace(s, "exceeded maximum template depth", "the template calls itself without end: maximum depth", 1)
	return errors.New(s)
}
