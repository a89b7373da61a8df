package acmejson

import (
	"path/filepath"
	"testing"

	"github.com/sluice-edge/sluice/store"
	"github.com/sluice-edge/sluice/store/storetest"
)

func TestContract(t *testing.T) {
	paths := map[*testing.T]string{}
	storetest.Run(t, storetest.Options{OneProcess: true, Layout: true, Open: func(t *testing.T) store.Store {
		if paths[t] == "" { // the file belongs to one Store at a time
			paths[t] = filepath.Join(t.TempDir(), "acme.json")
		}
		s, err := Open(paths[t])
		if err != nil {
			t.Fatal(err)
		}
		return s
	}})
}
