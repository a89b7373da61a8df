package wire

import "testing"

func TestValueBytes(t *testing.T) {
	for at := range 19 {
		for c := range 256 {
			v := []byte("abcdefgh\xffjkl mnopqr")
			v[at] = byte(c)
			if got, want := valueBytes(v), class[c]&isValue != 0; got != want {
				t.Fatalf("byte %#x at %d: %v", c, at, got)
			}
		}
	}
}
