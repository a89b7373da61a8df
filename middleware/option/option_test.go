package option

import "testing"

func TestError(t *testing.T) {
	if got := Errorf("users", "give one", "there is %s", "none").Error(); got != "users: there is none; give one" {
		t.Error(got)
	}
	if got := Errorf("users", "", "bad").Error(); got != "users: bad" {
		t.Error(got)
	}
	var none Warn
	none.Say("f", "", "nobody listens")
	var field, text, remedy string
	Warn(func(f, t, r string) { field, text, remedy = f, t, r }).Say("f", "r", "%d", 7)
	if field != "f" || text != "7" || remedy != "r" {
		t.Error(field, text, remedy)
	}
}
