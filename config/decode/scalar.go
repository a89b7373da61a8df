package decode

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// words sets a list from one text with commas. An empty text leaves the list as it is.
func (w *walker) words(v reflect.Value, n *node) bool {
	if strings.TrimSpace(n.value) == "" {
		return w.done(n)
	}
	parts := strings.Split(n.value, ",")
	out := reflect.MakeSlice(v.Type(), 0, len(parts))
	for _, p := range parts {
		item := reflect.New(v.Type().Elem()).Elem()
		if err := setScalar(item, strings.TrimSpace(p)); err != nil {
			return w.invalid(n, err)
		}
		out = reflect.Append(out, item)
	}
	v.Set(out)
	return w.done(n)
}

func setScalar(v reflect.Value, s string) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		b, err := strconv.ParseBool(strings.ToLower(s))
		if err != nil {
			return hinted(boolHint(s), "%q is neither true nor false", clip(s))
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64, reflect.Int32:
		i, err := strconv.ParseInt(s, 10, v.Type().Bits())
		if err != nil && strings.ContainsAny(s, "_xo") {
			i, err = strconv.ParseInt(s, 0, v.Type().Bits())
		}
		if errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("%q is too large a number", clip(s))
		}
		if err != nil {
			return fmt.Errorf("%q is not a whole number", clip(s))
		}
		v.SetInt(i)
	case reflect.Float64:
		x, err := strconv.ParseFloat(s, 64)
		if err != nil || x != x {
			return fmt.Errorf("%q is not a number", clip(s))
		}
		v.SetFloat(x)
	default:
		return fmt.Errorf("cannot be set by a text")
	}
	return nil
}

func boolHint(s string) string {
	switch strings.ToLower(s) {
	case "yes", "on", "y", "enabled":
		return "write true"
	case "no", "off", "n", "disabled":
		return "write false"
	}
	return ""
}

// clip keeps long values out of messages.
func clip(s string) string {
	if len(s) > 60 {
		return s[:57] + "..."
	}
	return s
}

// plain turns the node into maps, lists and texts, for what has no schema of ours.
func (n *node) plain() any {
	switch n.kind {
	case object:
		if elems, ok := n.elements(); ok && strings.HasPrefix(n.kids[0].key, "[") {
			out := make([]any, len(elems))
			for i, e := range elems {
				out[i] = e.plain()
			}
			return out
		}
		m := make(map[string]any, len(n.kids))
		for _, k := range n.kids {
			m[k.key] = k.plain()
		}
		return m
	case list:
		out := make([]any, len(n.kids))
		for i, k := range n.kids {
			out[i] = k.plain()
		}
		return out
	case null:
		return nil
	}
	return n.value
}
