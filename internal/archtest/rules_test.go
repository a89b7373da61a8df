package archtest

// module is the path every room starts with.
const module = "github.com/sluice-edge/sluice"

// room says what the packages at or below path may import of this module.
// The longest matching path decides. An entry of allow covers the packages
// below it too; "=" in front pins it to that one package.
type room struct {
	path  string
	allow []string
}

// rooms is the import table of docs/architecture.md. What is not named is
// forbidden, and so is a package that stands in no room.
var rooms = []room{
	{"config", nil},
	{"config/decode", []string{"config"}},
	{"config/schema", []string{"config"}},
	{"config/check", []string{"config", "=router/rule"}},

	{"store", []string{"store"}},

	{"telemetry", []string{"config", "telemetry"}},

	{"provider", []string{"config", "store", "telemetry", "provider"}},

	{"sleep", []string{"config", "telemetry", "=provider"}},

	{"cert", []string{"config", "telemetry"}},
	{"acme", []string{"config", "store", "cert", "telemetry", "acme"}},

	// In proxy: entrypoint -> {loop, serve, stream} -> {upstream, balance} -> wire -> exchange.
	{"proxy/exchange", []string{"config", "telemetry"}},
	{"proxy/page", []string{"proxy/exchange"}},
	{"proxy/trace", []string{"config", "telemetry", "proxy/exchange"}},
	{"proxy/record", []string{"config", "telemetry", "proxy/exchange"}},
	{"proxy/wire", []string{"config", "telemetry", "proxy/exchange", "proxy/wire"}},
	{"proxy/balance", []string{"config", "telemetry", "proxy/exchange", "proxy/wire"}},
	{"proxy/upstream", []string{"config", "telemetry", "cert", "proxy/exchange", "proxy/wire"}},
	{"proxy/loop", []string{"config", "telemetry", "cert", "proxy/exchange", "proxy/record", "proxy/wire", "proxy/balance", "proxy/upstream", "proxy/loop"}},
	{"proxy/serve", []string{"config", "telemetry", "cert", "proxy/exchange", "proxy/record", "proxy/wire", "proxy/balance", "proxy/upstream", "proxy/serve"}},
	{"proxy/stream", []string{"config", "telemetry", "cert", "proxy/exchange", "proxy/wire", "proxy/balance", "proxy/upstream", "proxy/stream"}},
	{"proxy/entrypoint", []string{"config", "telemetry", "cert", "proxy"}},

	{"middleware", []string{"config", "proxy/exchange", "telemetry", "middleware"}},

	{"router/rule", []string{"config", "=proxy/exchange"}},
	{"router", []string{"config", "proxy", "middleware", "telemetry", "router"}},

	{"dashboard", nil},
	{"api", []string{"config", "provider", "dashboard", "telemetry", "api"}},

	{"server", []string{"config", "store", "telemetry", "provider", "sleep", "cert", "acme", "proxy", "middleware", "router", "dashboard", "api", "server"}},
	{"cmd", []string{"config", "server", "api", "cmd"}},

	// Helpers of tests and generators; no product package may import them.
	{"internal", []string{"config", "internal"}},
	{"internal/testacme", []string{"cert", "internal"}},
	{"bench", []string{"bench"}},
	{"e2e", []string{"internal", "config"}},
}

// confine names the rooms in which a third-party module may be imported by
// product code. Modules that are not named here may be used anywhere, except
// where the room's own rule (bare) says otherwise.
var confine = []struct {
	module string
	rooms  []string
	why    string
}{
	{"github.com/docker/docker", []string{"provider/docker", "provider/swarm", "internal/testdocker"}, "one place speaks to engines"},
	{"github.com/docker/cli", []string{"provider/docker", "provider/swarm"}, "one place speaks to engines"},
	{"github.com/docker/go-connections", []string{"provider/docker", "provider/swarm", "internal/testdocker"}, "one place speaks to engines"},
	{"github.com/quic-go", []string{"proxy/serve"}, "HTTP/3 is served in one place"},
	{"github.com/go-acme/lego", []string{"acme"}, "issuing lives in acme"},
	{"github.com/prometheus", []string{"telemetry"}, "metrics are written in one place"},
	{"go.opentelemetry.io", []string{"telemetry", "internal/testcollector"}, "traces are written in one place"},
	{"github.com/redis/go-redis", []string{"store/redis", "middleware"}, "a store driver, and the shared rate limit"},
	{"github.com/jackc/pgx", []string{"store/postgres"}, "a store driver"},
	{"github.com/urfave/cli", []string{"cmd"}, "only the process has a command line"},
	{"gopkg.in/yaml.v3", []string{"config/decode", "internal"}, "files become structs in one place"},
	{"github.com/pelletier/go-toml", []string{"config/decode", "internal"}, "files become structs in one place"},
	{"github.com/klauspost/compress", []string{"middleware"}, "compression is a middleware"},
	{"github.com/andybalholm/brotli", []string{"middleware"}, "compression is a middleware"},
	{"github.com/GehirnInc/crypt", []string{"middleware"}, "passwords are checked in one place"},
	{"github.com/rs/zerolog/log", nil, "there is no global logger"},
	{"golang.org/x/net/http2", []string{"proxy"}, "the data plane speaks HTTP/2"},
}

// bare lists rooms whose product code imports the standard library only.
var bare = []string{"store", "proxy/exchange", "bench"}

// bareExact lists single packages (not what lies below them) of the same kind.
var bareExact = []string{"config", "store"}

// longFiles are Go files allowed to exceed maxLines, each with its reason.
var longFiles = map[string]string{
	"config/static.go": "one schema, read from top to bottom beside the generated reference",
}

// bigPackages are packages allowed to exceed maxPackage, each with its reason.
var bigPackages = map[string]string{
	"proxy/loop": "one state machine: to split it further its connections would have to show their insides",
}

const (
	maxLines   = 500
	maxPackage = 4000
)

// initAllowed are packages that may have an init function. There are none.
var initAllowed = map[string]string{}

// forbiddenWords may stand in no file of the repository: paths of build
// machines, and hosts of package registries (the Go tool and the image build
// need none of them). They are spelled in two halves so that this file passes.
var forbiddenWords = []string{
	"/wo" + "rk/",
	"/tmp/te" + "am",
	"/ro" + "ot/go",
	"/home/run" + "ner",
	"registry-1.dock" + "er.io",
	"index.dock" + "er.io",
	"ghcr" + ".io/",
	"quay" + ".io/",
	"gcr" + ".io/",
	"registry.npm" + "js.org",
	"registry.yarn" + "pkg.com",
	"proxy.gol" + "ang.org",
	"sum.gol" + "ang.org",
	"py" + "pi.org",
	"files.python" + "hosted.org",
	"deb.deb" + "ian.org",
	"crates" + ".io",
}
