package file

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/store"
	"github.com/sluice-edge/sluice/store/seal"
	"github.com/sluice-edge/sluice/store/storetest"
)

// openStore seals where the path says so, with a key that the child process knows too.
func openStore(path string) (store.Store, error) {
	if !strings.HasSuffix(path, sealedSuffix) {
		return Open(path)
	}
	ring, err := seal.New("b3f1c9a05d7e42861f0a9bd2e4c7835566a1d0ef9273b48c5e1f6a7d8c90b2e3")
	if err != nil {
		return nil, err
	}
	return OpenSealed(path, ring)
}

func TestMain(m *testing.M) { storetest.Main(m, openStore) }

func TestKilledWhileWriting(t *testing.T) {
	for _, name := range []string{"plain", "all" + sealedSuffix} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Crash(t, filepath.Join(t.TempDir(), name), openStore)
		})
	}
}
