package check

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// Formats lists the formats of Write.
func Formats() []string { return []string{"text", "json", "sarif", "github"} }

// Write prints findings: one a line as "text" (FILE:LINE:COLUMN: ...), as "json", as "sarif"
// (2.1.0, for code scanning), or as annotations of "github" workflows.
func Write(w io.Writer, format string, findings []Finding) error {
	switch format {
	case "", "text":
		return writeText(w, findings)
	case "json":
		if findings == nil {
			findings = []Finding{}
		}
		return encode(w, findings)
	case "sarif":
		return encode(w, sarif(findings))
	case "github":
		return writeGitHub(w, findings)
	}
	return fmt.Errorf("unknown format %q; there are %s", format, strings.Join(Formats(), ", "))
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// where is the place as compilers write it.
func (f Finding) where() string {
	switch {
	case f.File == "":
		return f.Source
	case f.Line == 0:
		return f.File
	case f.Column == 0:
		return fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
}

// message is the finding without place and severity.
func (f Finding) message() string {
	p := f.Problem
	p.Source = ""
	return p.String()
}

func writeText(w io.Writer, findings []Finding) error {
	for _, f := range findings {
		place := f.where()
		if place != "" {
			place += ": "
		}
		if _, err := fmt.Fprintf(w, "%s%s: %s [%s]\n", place, f.Severity, f.message(), f.Code); err != nil {
			return err
		}
	}
	return nil
}

func writeGitHub(w io.Writer, findings []Finding) error {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, f := range findings {
		var props []string
		if f.File != "" {
			props = append(props, "file="+property.Replace(f.File))
		}
		if f.Line > 0 {
			props = append(props, fmt.Sprintf("line=%d", f.Line))
		}
		if f.Column > 0 {
			props = append(props, fmt.Sprintf("col=%d", f.Column))
		}
		props = append(props, "title="+property.Replace(f.Code))
		if _, err := fmt.Fprintf(w, "::%s %s::%s\n", f.Severity, strings.Join(props, ","), data.Replace(f.message())); err != nil {
			return err
		}
	}
	return nil
}

type object = map[string]any

func sarif(findings []Finding) object {
	seen := map[string]bool{}
	results := []object{}
	for _, f := range findings {
		seen[f.Code] = true
		level := "error"
		if f.Severity == config.Warning {
			level = "warning"
		}
		r := object{"ruleId": f.Code, "level": level, "message": object{"text": f.message()}}
		if f.File != "" {
			physical := object{"artifactLocation": object{"uri": f.File}}
			if f.Line > 0 {
				physical["region"] = object{"startLine": f.Line, "startColumn": max(f.Column, 1)}
			}
			r["locations"] = []object{{"physicalLocation": physical}}
		}
		results = append(results, r)
	}
	codes := make([]string, 0, len(seen))
	for c := range seen {
		codes = append(codes, c)
	}
	sort.Strings(codes)
	rules := []object{}
	for _, c := range codes {
		rules = append(rules, object{"id": c, "shortDescription": object{"text": strings.ReplaceAll(c, "_", " ")}})
	}
	return object{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json",
		"version": "2.1.0",
		"runs":    []object{{"tool": object{"driver": object{"name": "sluice check", "rules": rules}}, "results": results}},
	}
}
