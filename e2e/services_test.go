package e2e

import (
	"testing"

	"github.com/sluice-edge/sluice/internal/testdocker"
)

// Services made of services and transports may be written as labels, under sluice.*: a
// compose file stays one that Traefik loads.
func TestServicesOfServicesByLabels(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	e.Start(t, testdocker.Spec{Name: "blue-" + r.caseID, Env: id("blue"), Labels: r.host("blue", "blue.test",
		"traefik.http.routers.share.rule", "Host(`share.test`)",
		"traefik.http.routers.share.service", "share",
		"sluice.http.services.share.weighted.services[0].name", "blue",
		"sluice.http.services.share.weighted.services[0].weight", "3",
		"sluice.http.services.share.weighted.services[1].name", "green",
		"sluice.http.services.share.weighted.services[1].weight", "1",
		"traefik.http.routers.spare.rule", "Host(`spare.test`)",
		"traefik.http.routers.spare.service", "spare",
		"sluice.http.services.spare.failover.service", "away",
		"sluice.http.services.spare.failover.fallback", "green",
		"traefik.http.services.away.loadbalancer.server.port", "1",
		"traefik.http.routers.twice.rule", "Host(`twice.test`)",
		"traefik.http.routers.twice.service", "twice",
		"sluice.http.services.twice.mirroring.service", "blue",
		"sluice.http.services.twice.mirroring.mirrors[0].name", "green",
		"sluice.http.services.twice.mirroring.mirrors[0].percent", "100",
		"traefik.http.services.blue.loadbalancer.serverstransport", "quick",
		"sluice.http.serverstransports.quick.forwardingtimeouts.dialtimeout", "2s")})
	e.Start(t, testdocker.Spec{Name: "green-" + r.caseID, Env: id("green"), Labels: r.host("green", "green.test")})
	r.served("blue.test", "blue")
	r.served("green.test", "green")
	r.only("share.test", "blue", "green")
	r.served("spare.test", "green")
	r.served("twice.test", "blue")
}
