package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// claims ties what the documentation says of the program to the tests that prove it: a text of
// a page, and tests as "directory TestName", or a script of testdata/script.
var claims = []struct {
	page, text string
	proof      []string
}{
	{"README.md", "make up", []string{"e2e TestMakeUp"}},
	{"README.md", "A container that starts has its route within milliseconds", []string{"e2e TestEventToFirstAnswer"}},
	{"README.md", "one that stops leaves at its stop signal", []string{"provider/docker TestStopSignalFencesAtOnce"}},
	{"README.md", "A wrong label costs that label", []string{"e2e TestBrokenLabel"}},

	{"docs/migration.md", "Commands that begin with `traefik`", []string{"version.txtar"}},
	{"docs/migration.md", "| a wrong label |", []string{"e2e TestBrokenLabel", "e2e TestConflict"}},
	{"docs/migration.md", "| a `--configFile` that does not exist |", []string{"errors.txtar"}},
	{"docs/migration.md", "| an unknown flag |", []string{"errors.txtar"}},
	{"docs/migration.md", "middleware that cannot be built | 404", []string{"e2e TestUnbuildableGuard"}},
	{"docs/migration.md", "| a host whose containers have all stopped |", []string{"e2e TestStoppedHost"}},
	{"docs/migration.md", "| Content-Length beside Transfer-Encoding", []string{"proxy/wire TestParseRequestRefuses", "proxy/wire TestChunks"}},
	{"docs/migration.md", "| a lower UDP port beside a TCP port", []string{"provider/docker TestPlaceWithoutPorts"}},
	{"docs/migration.md", "| a service's health check |", []string{"proxy/balance TestHealthChecksRunAtOnceAndReport"}},
	{"docs/migration.md", "| how soon a container answers |", []string{"e2e TestEventToFirstAnswer"}},
	{"docs/migration.md", "| replacing one of two replicas under load |", []string{"e2e TestDeployStopFirst", "e2e TestDeployStartFirst", "e2e TestRedeploy"}},

	{"docs/operations/README.md", "has a base file with a development and a production overlay", []string{"e2e TestDevStack", "e2e TestProdStack", "e2e TestProdStackGetsItsCertificate"}},
	{"docs/operations/README.md", "`stack.yml` (one router", []string{"e2e TestSwarmStack"}},
	{"docs/operations/README.md", "`ha.yml` (a router on every manager", []string{"e2e TestSwarmHighlyAvailable"}},
	{"docs/operations/README.md", "gives up all of root's capabilities at once but three", []string{"e2e TestPrivileges"}},
	{"README.md", "gives up root's capabilities at once", []string{"e2e TestPrivileges", "e2e TestProdStackGetsItsCertificate"}},
	{"docs/operations/README.md", "**Several engines**", []string{"e2e TestTwoEngines"}},
	{"docs/operations/README.md", "sluice healthcheck --ping", []string{"run.txtar"}},
	{"docs/operations/README.md", "SIGTERM ends it in order", []string{"proxy/entrypoint TestShutdownGoesOnAcceptingForItsGrace", "proxy/serve TestDrain", "e2e/lanes TestShutdown"}},
	{"docs/operations/README.md", "A container that receives its stop signal leaves rotation", []string{"provider/docker TestStopSignalFencesAtOnce", "e2e TestDeployStopFirst"}},

	{"docs/configuration.md", "**first source that says anything is the only one**", []string{"config/decode TestStaticSources"}},
	{"docs/configuration.md", "A change is made live as a whole", []string{"server TestStaticReload", "server TestStaticReloadKeepsTheOldOnErrors"}},

	{"docs/deploys.md", "A container gets its stop signal", []string{"provider/docker TestStopSignalFencesAtOnce"}},
	{"docs/deploys.md", "The request waits for a replacement", []string{"e2e TestHold", "e2e TestDeployOnlyReplica"}},
	{"docs/deploys.md", "It gets requests once it accepts connections", []string{"e2e TestReady"}},
	{"docs/deploys.md", "A stopped or removed container keeps its host: 503", []string{"e2e TestStoppedHost"}},
	{"docs/deploys.md", "`--sluice.pages=true`", []string{"e2e TestPages"}},
	{"docs/deploys.md", "those of the newest count", []string{"e2e TestNewestWins"}},
}

// TestDocsClaims fails where a page no longer says what stands here, or a test is gone.
func TestDocsClaims(t *testing.T) {
	top := filepath.Join("..", "..")
	all := pages(t)
	tests := map[string]string{} // directory: the text of its tests
	for _, c := range claims {
		if !strings.Contains(all[c.page], c.text) {
			t.Errorf("%s no longer says %q", c.page, c.text)
		}
		for _, proof := range c.proof {
			dir, name, isTest := strings.Cut(proof, " ")
			if !isTest {
				if _, err := os.Stat(filepath.Join(top, "testdata", "script", proof)); err != nil {
					t.Errorf("%s: %q: %v", c.page, c.text, err)
				}
				continue
			}
			if tests[dir] == "" {
				files, err := filepath.Glob(filepath.Join(top, dir, "*_test.go"))
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range files {
					b, err := os.ReadFile(f)
					if err != nil {
						t.Fatal(err)
					}
					tests[dir] += string(b)
				}
			}
			if !strings.Contains(tests[dir], "func "+name+"(") {
				t.Errorf("%s: %q: there is no %s", c.page, c.text, proof)
			}
		}
	}
}
