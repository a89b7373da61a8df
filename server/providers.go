package server

import (
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/provider/docker"
	"github.com/sluice-edge/sluice/provider/file"
	"github.com/sluice-edge/sluice/provider/http"
	"github.com/sluice-edge/sluice/provider/swarm"
)

func (s *Server) newProviders() {
	ps := []provider.Provider{internalProvider{internalConfig(s.static)}}
	throttle := time.Duration(-1)
	if p := s.static.Providers; p != nil {
		throttle = time.Duration(p.ProvidersThrottleDuration)
		if p.File != nil {
			ps = append(ps, file.New(p.File, file.Options{Log: s.component("file")}))
		}
		if p.HTTP != nil {
			ps = append(ps, http.New(p.HTTP, http.Options{Log: s.component("http")}))
		}
		if p.Swarm != nil {
			ps = append(ps, swarm.New(p.Swarm, swarm.Options{
				Log: s.component("swarm"), Compat404: s.sluice().Compat404, Beside: p.Docker, Stopping: s.stopping,
			}))
		}
		if p.Docker != nil {
			ps = append(ps, docker.New(p.Docker, docker.Options{
				Log: s.component("docker"), Compat404: s.sluice().Compat404, Stopping: s.stopping,
			}))
		}
	}
	s.providers = provider.NewManager(provider.Options{Log: s.component("providers"), Throttle: throttle}, ps...)
}

// stopping takes the servers of a container that got its stop signal out of rotation,
// ahead of the next table.
func (s *Server) stopping(urls []string) { s.book.Fence(urls, true) }

func (s *Server) sluice() *config.Sluice {
	if s.static.Sluice != nil {
		return s.static.Sluice
	}
	return &config.Sluice{}
}
