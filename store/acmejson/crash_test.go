package acmejson

import (
	"path/filepath"
	"testing"

	"github.com/sluice-edge/sluice/store"
	"github.com/sluice-edge/sluice/store/storetest"
)

func openStore(path string) (store.Store, error) { return Open(path) }

func TestMain(m *testing.M) { storetest.Main(m, openStore) }

func TestKilledWhileWriting(t *testing.T) {
	storetest.Crash(t, filepath.Join(t.TempDir(), "acme.json"), openStore)
}
