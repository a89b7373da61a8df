package file

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"reflect"
	"strings"
)

// plain keeps "RESOLVER/certificates/NAMES" as RESOLVER/certificates/NAMES.pem, the chain
// and then its key, and other values as they are with ".json". The key is encrypted where
// the resolver has a storage key.
type plain struct{}

const (
	pemSuffix  = ".pem"
	jsonSuffix = ".json"
	// partSize is the longest name of a directory or file before its suffix, in bytes: file
	// systems take 255. Longer parts of a key go over several directories, all but the last with a "+".
	partSize = 180
)

// certificate is a certificate of a resolver, as values hold it.
type certificate struct {
	Domain struct {
		Main string   `json:"main,omitempty"`
		SANs []string `json:"sans,omitempty"`
	} `json:"domain"`
	Certificate []byte `json:"certificate"`
	Key         []byte `json:"key"`
	Store       string `json:"Store"`
}

func names(key string) (string, bool) {
	p := strings.SplitN(key, "/", 3)
	if len(p) == 3 && p[1] == "certificates" {
		return p[2], true
	}
	return "", false
}

func (plain) path(key string) string {
	var out []string
	for part := range strings.SplitSeq(key, "/") {
		esc := escape(part)
		for len(esc) > partSize {
			n := partSize
			for strings.Contains(esc[n-2:n], "%") {
				n-- // an escape is not torn apart
			}
			out = append(out, esc[:n]+"+")
			esc = esc[n:]
		}
		out = append(out, esc)
	}
	suffix := jsonSuffix
	if _, ok := names(key); ok {
		suffix = pemSuffix
	}
	return strings.Join(out, "/") + suffix
}

// escape keeps letters, digits, and a few signs; a first dot would hide the file or leave the directory.
func escape(part string) string {
	var b strings.Builder
	for i := range len(part) {
		c := part[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == ',', c == '@', c == '*', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

func (plain) key(path string, _ func() ([]byte, error)) (string, bool) {
	rest, ok := strings.CutSuffix(path, pemSuffix)
	if !ok {
		if rest, ok = strings.CutSuffix(path, jsonSuffix); !ok {
			return "", false
		}
	}
	rest = strings.ReplaceAll(rest, "+/", "")
	var b strings.Builder
	for i := 0; i < len(rest); i++ {
		if rest[i] != '%' {
			b.WriteByte(rest[i])
			continue
		}
		var c byte
		if i+2 >= len(rest) {
			return "", false
		}
		if _, err := fmt.Sscanf(rest[i+1:i+3], "%02x", &c); err != nil {
			return "", false
		}
		b.WriteByte(c)
		i += 2
	}
	key := b.String()
	return key, plain{}.path(key) == path // a file of somebody else
}

func (plain) encode(key string, value []byte) ([]byte, error) {
	n, ok := names(key)
	if !ok {
		return value, nil
	}
	var c certificate
	if json.Unmarshal(value, &c) != nil {
		return value, nil //nolint:nilerr // it is kept as it is
	}
	text := append(bytes.Clone(c.Certificate), c.Key...)
	// What would not come back the same is kept as JSON.
	back, err := toJSON(n, text)
	if err != nil || !sameJSON(back, value) {
		return value, nil //nolint:nilerr // it is kept as it is
	}
	return text, nil
}

func (plain) decode(key string, content []byte) ([]byte, error) {
	n, ok := names(key)
	if !ok || !bytes.HasPrefix(content, []byte("-----BEGIN ")) {
		return content, nil
	}
	return toJSON(n, content)
}

// toJSON makes the value of a file: the last PEM block is the key.
func toJSON(names string, text []byte) ([]byte, error) {
	var c certificate
	list := strings.Split(names, ",")
	c.Domain.Main, c.Domain.SANs, c.Store = list[0], list[1:], "default"
	rest, at := text, 0
	for {
		p, next := pem.Decode(rest)
		if p == nil {
			break
		}
		at = len(text) - len(rest)
		rest = next
	}
	if at == 0 {
		return nil, fmt.Errorf("the file of %s holds no certificate with its key", names)
	}
	c.Certificate, c.Key = text[:at], text[at:]
	return json.Marshal(&c)
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
