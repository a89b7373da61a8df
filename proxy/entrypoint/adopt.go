package entrypoint

import (
	"context"
	"fmt"
	"net"
)

// adopt listens with the sockets that were passed to the program.
func (e *EntryPoint) adopt(ctx context.Context) error {
	for i, l := range e.cfg.Listeners {
		addr, err := e.adoptOne(l)
		if err == nil {
			if _, tcp := l.(*net.TCPListener); tcp {
				err = e.listenH3(ctx, addr)
			}
		}
		if err != nil {
			e.closeListeners()
			for _, rest := range e.cfg.Listeners[i:] {
				_ = rest.Close()
			}
			return fmt.Errorf("entry point %s: socket %s: %w", e.cfg.Name, l.Addr(), err)
		}
	}
	return nil
}

func (e *EntryPoint) adoptOne(l net.Listener) (net.Addr, error) {
	a, loops := e.cfg.Lane.(Adopter)
	t, tcp := l.(*net.TCPListener)
	if !loops || !tcp {
		e.AddListener(l)
		return l.Addr(), nil
	}
	p, err := a.Adopt(t, e)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.ports = append(e.ports, p)
	e.mu.Unlock()
	return p.Addr(), t.Close()
}
