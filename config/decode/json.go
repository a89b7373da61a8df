package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
)

func parseJSON(p *places, data []byte) (*node, error) {
	p.index(data)
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	j := &jsonTree{places: p, dec: json.NewDecoder(bytes.NewReader(data)), data: data}
	j.dec.UseNumber()
	n, err := j.value(0)
	if err == nil {
		if _, more := j.dec.Token(); !errors.Is(more, io.EOF) {
			err = unreadable(p.offset(int(j.dec.InputOffset())), "there is more after the end", "")
		}
	}
	var known *Error
	var syntax *json.SyntaxError
	switch {
	case err == nil:
	case errors.As(err, &known):
		return nil, known
	case errors.As(err, &syntax):
		return nil, unreadable(p.offset(min(int(syntax.Offset), len(data))), syntax.Error(), "")
	default:
		return nil, unreadable(p.offset(len(data)), "ends too early", "")
	}
	if n.kind == null {
		return nil, nil
	}
	return n, nil
}

type jsonTree struct {
	places *places
	dec    *json.Decoder
	data   []byte
}

// next is the offset of the next token.
func (j *jsonTree) next() int {
	off := int(j.dec.InputOffset())
	for off < len(j.data) && bytes.IndexByte([]byte(" \t\r\n,:"), j.data[off]) >= 0 {
		off++
	}
	return off
}

func (j *jsonTree) value(depth int) (*node, error) {
	out := j.places.node(j.next())
	if depth > maxDepth {
		return nil, unreadable(out.place(), "is nested too deeply", "")
	}
	tok, err := j.dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := tok.(type) {
	case json.Delim:
		if t == '[' {
			return out, j.array(out, depth)
		}
		return out, j.object(out, depth)
	case string:
		out.value = t
	case json.Number:
		out.value = t.String()
	case bool:
		out.value = strconv.FormatBool(t)
	case nil:
		out.kind = null
	}
	return out, nil
}

func (j *jsonTree) array(out *node, depth int) error {
	out.kind = list
	for j.dec.More() {
		k, err := j.value(depth + 1)
		if err != nil {
			return err
		}
		k.key = "[" + strconv.Itoa(len(out.kids)) + "]"
		out.adopt(k)
	}
	_, err := j.dec.Token()
	return err
}

func (j *jsonTree) object(out *node, depth int) error {
	out.kind = object
	for j.dec.More() {
		at := j.places.node(j.next())
		tok, err := j.dec.Token()
		if err != nil {
			return err
		}
		key, _ := tok.(string)
		k, err := j.value(depth + 1)
		if err != nil {
			return err
		}
		k.key, k.line, k.col = key, at.line, at.col
		out.adopt(k)
	}
	_, err := j.dec.Token()
	return err
}
