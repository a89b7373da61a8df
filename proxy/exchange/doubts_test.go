package exchange

import "testing"

func TestDoubts(t *testing.T) {
	var d Doubts
	d.Add("%s", "")
	if w := d.Warning(); w != "" {
		t.Errorf("nothing is told as %q", w)
	}
	d.Add("weight %d", -1)
	d.Add("")
	d.Add("sameSite %q", "x")
	if w, want := d.Warning(), `weight -1; sameSite "x"`; w != want {
		t.Errorf("%q, want %q", w, want)
	}
}
