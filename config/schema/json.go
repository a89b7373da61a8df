package schema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
)

// Kinds lists what JSON can describe.
func Kinds() []string { return []string{"static", "dynamic", "labels"} }

// JSON returns the JSON Schema (draft 2020-12) of "static" or "dynamic" configuration files, or of
// the "labels" of a container. Keys are in their canonical spelling; the program itself takes any case.
func JSON(kind string) ([]byte, error) {
	s := &builder{text: texts(), defs: map[string]any{}}
	var root map[string]any
	switch kind {
	case "static":
		root = s.object(reflect.TypeFor[config.Static](), nil)
	case "dynamic":
		root = s.object(reflect.TypeFor[config.Dynamic](), nil)
	case "labels":
		root = labelSchema()
	default:
		return nil, fmt.Errorf("no schema %q; there are %s", kind, strings.Join(Kinds(), ", "))
	}
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Sluice " + kind + " configuration"
	if len(s.defs) > 0 {
		root["$defs"] = s.defs
	}
	if kind != "labels" {
		// Keys that begin with "x-" hold YAML anchors.
		root["patternProperties"] = map[string]any{"^x-": true}
	}
	return json.MarshalIndent(root, "", "  ")
}

type builder struct {
	text map[string]string
	defs map[string]any
}

type object = map[string]any

func (b *builder) object(t reflect.Type, defaults *reflect.Value) object {
	props := object{}
	for _, f := range decode.Fields(t) {
		if f.Label {
			continue
		}
		p := b.of(f.Type)
		if f.Switch {
			p = object{"anyOf": []any{p, object{"type": []string{"boolean", "string"}}}}
		}
		if text := b.text[f.Owner+"."+f.Go]; text != "" {
			p = with(p, "description", text)
		}
		if defaults != nil {
			if d, ok := jsonDefault(defaults.FieldByIndex(f.Index)); ok {
				p = with(p, "default", d)
			}
		}
		if f.Secret {
			p = with(p, "writeOnly", true)
		}
		props[f.Name] = p
	}
	out := object{"type": "object", "properties": props, "additionalProperties": false}
	if text := b.text[t.Name()]; text != "" {
		out["description"] = text
	}
	return out
}

// with adds a word beside a schema without changing what others share.
func with(s object, key string, value any) object {
	out := object{key: value}
	for k, v := range s {
		if k != key {
			out[k] = v
		}
	}
	return out
}

func jsonDefault(v reflect.Value) (any, bool) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, false
		}
		v = v.Elem()
	}
	if v.IsZero() {
		return nil, false
	}
	switch {
	case scalarType(v.Type()) == "duration":
		return plain(v), true
	case v.Kind() == reflect.Struct, v.Kind() == reflect.Map:
		return nil, false
	}
	return v.Interface(), true
}

// of gives the schema of a type. Numbers and booleans may be quoted, lists may be one
// text with commas: that is how labels and many files spell them.
func (b *builder) of(t reflect.Type) object {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch scalarType(t) {
	case "duration":
		return object{"type": []string{"string", "integer"}, "pattern": `^-?[0-9]+$|^-?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`}
	case "text":
		return object{"type": []string{"string", "number", "boolean"}}
	case "boolean":
		return object{"anyOf": []any{object{"type": "boolean"}, object{"enum": []string{"true", "false", "True", "False", "TRUE", "FALSE", "1", "0", "t", "f", "T", "F"}}}}
	case "integer":
		return object{"type": []string{"integer", "string"}, "pattern": `^-?[0-9]+$`}
	case "number":
		return object{"type": []string{"number", "string"}}
	case "any":
		return object{}
	}
	switch t.Kind() {
	case reflect.Map:
		return object{"type": "object", "additionalProperties": b.of(t.Elem())}
	case reflect.Slice:
		items := object{"type": "array", "items": b.of(t.Elem())}
		if t.Elem().Kind() == reflect.Struct {
			return items
		}
		return object{"anyOf": []any{items, object{"type": []string{"string", "number"}}}}
	case reflect.Struct:
		if _, ok := b.defs[t.Name()]; !ok {
			b.defs[t.Name()] = object{} // holds the place while it is described
			p := reflect.New(t)
			if d, ok := p.Interface().(interface{ SetDefaults() }); ok {
				d.SetDefaults()
			}
			v := p.Elem()
			b.defs[t.Name()] = b.object(t, &v)
		}
		return object{"$ref": "#/$defs/" + t.Name()}
	}
	return object{}
}

// labelSchema describes a map of labels: each is a text, named by a pattern.
func labelSchema() object {
	patterns := object{}
	for _, k := range Labels() {
		var b strings.Builder
		b.WriteString("^")
		for _, part := range strings.Split(strings.ReplaceAll(k.Path, "[n]", ".[n]"), ".") {
			switch part {
			case "<name>":
				b.WriteString(`\.[^.]+`)
			case "[n]":
				b.WriteString(`\[[0-9]+\]`)
			default:
				if b.Len() > 1 {
					b.WriteString(`\.`)
				}
				for _, c := range part {
					if c >= 'a' && c <= 'z' {
						fmt.Fprintf(&b, "[%c%c]", c, c-'a'+'A')
					} else {
						b.WriteRune(c)
					}
				}
			}
		}
		p := object{"type": []string{"string", "number", "boolean"}}
		if k.Text != "" {
			p["description"] = k.Text
		}
		// "sluice" is an alias of the root "traefik".
		pattern := strings.Replace(b.String(), "[tT][rR][aA][eE][fF][iI][kK]", "(traefik|sluice)", 1)
		patterns[strings.Replace(pattern, "[sS][lL][uU][iI][cC][eE]", "sluice", 1)+"$"] = p
	}
	return object{"type": "object", "patternProperties": patterns}
}
