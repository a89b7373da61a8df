package api

import (
	"encoding"
	"reflect"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

const redacted = "xxxx"

// redact returns v as maps, slices and plain values under its JSON keys, with every field
// tagged `cfg:"secret"` replaced where it is set. It needs reflection, as the tag does.
func redact(v any) any { return redactValue(reflect.ValueOf(v)) }

// withoutKeys is a middleware as the API shows it: what the reference shows (the hashes of
// users among it), but no private key and no password.
func withoutKeys(info *config.MiddlewareInfo) *config.MiddlewareInfo {
	if info == nil || info.Middleware == nil {
		return info
	}
	mw := *info.Middleware
	switch {
	case mw.ForwardAuth != nil && mw.ForwardAuth.TLS != nil && mw.ForwardAuth.TLS.Key != "":
		f := *mw.ForwardAuth
		f.TLS = withoutKey(f.TLS)
		mw.ForwardAuth = &f
	case mw.RateLimit != nil && mw.RateLimit.Redis != nil:
		l, r := *mw.RateLimit, *mw.RateLimit.Redis
		if r.Password != "" {
			r.Password = redacted
		}
		r.TLS = withoutKey(r.TLS)
		l.Redis, mw.RateLimit = &r, &l
	default:
		return info
	}
	view := *info
	view.Middleware = &mw
	return &view
}

func withoutKey(t *config.ClientTLS) *config.ClientTLS {
	if t == nil || t.Key == "" {
		return t
	}
	own := *t
	own.Key = redacted
	return &own
}

func redactValue(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	if v.CanInterface() {
		if m, ok := v.Interface().(encoding.TextMarshaler); ok && v.Kind() != reflect.Pointer {
			if b, err := m.MarshalText(); err == nil {
				return string(b)
			}
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return redactValue(v.Elem())
	case reflect.Struct:
		out := map[string]any{}
		redactStruct(v, out)
		return out
	case reflect.Map:
		out := make(map[string]any, v.Len())
		for it := v.MapRange(); it.Next(); {
			out[it.Key().String()] = redactValue(it.Value())
		}
		return out
	case reflect.Slice, reflect.Array:
		out := make([]any, 0, v.Len())
		for i := range v.Len() {
			out = append(out, redactValue(v.Index(i)))
		}
		return out
	}
	return v.Interface()
}

func redactStruct(v reflect.Value, out map[string]any) {
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		if !field.IsExported() {
			continue
		}
		key, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if key == "-" {
			continue
		}
		if field.Anonymous && key == "" {
			for value.Kind() == reflect.Pointer && !value.IsNil() {
				value = value.Elem()
			}
			if value.Kind() == reflect.Struct {
				redactStruct(value, out)
			}
			continue
		}
		if value.IsZero() && strings.Contains(options, "omitempty") {
			continue
		}
		if key == "" {
			key = field.Name
		}
		if secret(field.Tag.Get("cfg")) && !value.IsZero() {
			out[key] = hide(value)
			continue
		}
		out[key] = redactValue(value)
	}
}

func secret(tag string) bool {
	for word := range strings.SplitSeq(tag, ",") {
		if word == "secret" {
			return true
		}
	}
	return false
}

// hide keeps the keys of maps and the number of a list's entries.
func hide(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Map:
		out := make(map[string]any, v.Len())
		for it := v.MapRange(); it.Next(); {
			out[it.Key().String()] = redacted
		}
		return out
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = redacted
		}
		return out
	}
	return redacted
}
