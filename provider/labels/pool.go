package labels

import (
	"reflect"

	"github.com/sluice-edge/sluice/config"
)

// equalServices compares all but the servers, which are pooled.
func equalServices(a, b *config.Service) bool {
	if a.LoadBalancer == nil || b.LoadBalancer == nil {
		return reflect.DeepEqual(a, b)
	}
	x, y, lx, ly := *a, *b, *a.LoadBalancer, *b.LoadBalancer
	lx.Servers, ly.Servers = nil, nil
	if !sameIdle(lx.Idle, ly.Idle) {
		return false
	}
	lx.Idle, ly.Idle = nil, nil
	lx.Coming, ly.Coming = false, false
	lx.Sick, ly.Sick = false, false
	x.LoadBalancer, y.LoadBalancer = &lx, &ly
	return reflect.DeepEqual(x, y)
}

func equalTCPServices(a, b *config.TCPService) bool {
	if a.LoadBalancer == nil || b.LoadBalancer == nil {
		return reflect.DeepEqual(a, b)
	}
	x, y, lx, ly := *a, *b, *a.LoadBalancer, *b.LoadBalancer
	lx.Servers, ly.Servers = nil, nil
	if !sameIdle(lx.Idle, ly.Idle) {
		return false
	}
	lx.Idle, ly.Idle = nil, nil
	x.LoadBalancer, y.LoadBalancer = &lx, &ly
	return reflect.DeepEqual(x, y)
}

func equalUDPServices(a, b *config.UDPService) bool {
	return (a.LoadBalancer != nil && b.LoadBalancer != nil && sameIdle(a.LoadBalancer.Idle, b.LoadBalancer.Idle)) || reflect.DeepEqual(a, b)
}

// poolHTTP gives the winner the servers of all claims. Fenced servers are listed only
// where nothing better is there: then they tell why the service is down.
func poolHTTP(winner *config.Service, all []claim[config.Service]) *config.Service {
	if winner.LoadBalancer == nil {
		return winner
	}
	var live, fenced unique[config.Server]
	coming, sick := false, true
	for _, c := range all {
		if c.obj.LoadBalancer == nil {
			continue
		}
		coming = coming || c.obj.LoadBalancer.Coming
		sick = sick && (c.obj.LoadBalancer.Sick || len(c.obj.LoadBalancer.Servers) == 0)
		for _, s := range c.obj.LoadBalancer.Servers {
			if s.Fenced {
				fenced.add(s.URL, s)
			} else {
				live.add(s.URL, s)
			}
		}
	}
	svc, lb := *winner, *winner.LoadBalancer
	lb.Servers = live.list
	if len(lb.Servers) == 0 {
		lb.Servers = fenced.list
	}
	lb.Coming = coming && len(lb.Servers) == 0
	lb.Sick = sick && len(live.list) == 0 && len(fenced.list) > 0
	lb.Idle = poolIdle(lb.Idle, len(live.list) > 0, all, func(s *config.Service) *config.Idle {
		if s.LoadBalancer == nil {
			return nil
		}
		return s.LoadBalancer.Idle
	})
	svc.LoadBalancer = &lb
	return &svc
}

func poolTCP(winner *config.TCPService, all []claim[config.TCPService]) *config.TCPService {
	if winner.LoadBalancer == nil {
		return winner
	}
	var servers unique[config.TCPServer]
	for _, c := range all {
		if c.obj.LoadBalancer == nil {
			continue
		}
		for _, s := range c.obj.LoadBalancer.Servers {
			servers.add(s.Address, s)
		}
	}
	svc, lb := *winner, *winner.LoadBalancer
	lb.Servers = servers.list
	lb.Idle = poolIdle(lb.Idle, len(servers.list) > 0, all, func(s *config.TCPService) *config.Idle {
		if s.LoadBalancer == nil {
			return nil
		}
		return s.LoadBalancer.Idle
	})
	svc.LoadBalancer = &lb
	return &svc
}

func poolUDP(winner *config.UDPService, all []claim[config.UDPService]) *config.UDPService {
	if winner.LoadBalancer == nil {
		return winner
	}
	var servers unique[config.UDPServer]
	for _, c := range all {
		if c.obj.LoadBalancer == nil {
			continue
		}
		for _, s := range c.obj.LoadBalancer.Servers {
			servers.add(s.Address, s)
		}
	}
	idle := poolIdle(winner.LoadBalancer.Idle, len(servers.list) > 0, all, func(s *config.UDPService) *config.Idle {
		if s.LoadBalancer == nil {
			return nil
		}
		return s.LoadBalancer.Idle
	})
	return &config.UDPService{LoadBalancer: &config.UDPLoadBalancer{Servers: servers.list, Idle: idle}}
}

// unique is a list that keeps the first of those with an equal key.
type unique[T any] struct {
	list []T
	seen map[string]bool
}

func (u *unique[T]) add(key string, v T) {
	if u.seen[key] {
		return
	}
	if u.seen == nil {
		u.seen = map[string]bool{}
	}
	u.seen[key] = true
	u.list = append(u.list, v)
}
