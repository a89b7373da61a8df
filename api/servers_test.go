package api

import "testing"

func TestServers(t *testing.T) {
	h := New(shopOptions())
	for query, want := range map[string]int{"": 3, "?status=down": 1, "?status=UP": 2, "?search=10.0.0.4": 1, "?provider=file": 3, "?provider=docker": 0, "?per_page=2": 2} {
		if list := decode[[]Server](t, get(t, h, "/api/sluice/servers"+query)); len(list) != want {
			t.Errorf("%q: %d, want %d", query, len(list), want)
		}
	}
	down := decode[[]Server](t, get(t, h, "/api/sluice/servers?status=down"))[0]
	if want := (Server{"http", "cart@file", "http://10.0.0.2:80", "DOWN"}); down != want {
		t.Errorf("%+v, want %+v", down, want)
	}
}
