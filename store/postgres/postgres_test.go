package postgres

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-edge/sluice/internal/testpostgres"
	"github.com/sluice-edge/sluice/store"
	"github.com/sluice-edge/sluice/store/storetest"
)

func TestContract(t *testing.T) {
	address := testpostgres.Start(t)
	storetest.Run(t, storetest.Options{Open: func(t *testing.T) store.Store {
		s, err := Open(address + "&table=edge_values")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}})
}

func TestAddresses(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("pw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open("postgres://edge@db.test:1234/certs?passwordFile=" + secret)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if c := s.pool.Config().ConnConfig; c.Host != "db.test" || c.Port != 1234 || c.Database != "certs" || c.Password != "pw" || s.table != "sluice" {
		t.Fatalf("%+v", c.Config)
	}
	for _, bad := range []string{"postgres://h:x/db", "postgres://h/db?table=a%3Bdrop", "postgres://h/db?passwordFile=/nowhere"} {
		if _, err := Open(bad); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}
