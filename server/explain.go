package server

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/sluice-edge/sluice/api"
)

// explain says which routers a request would meet.
func (s *Server) explain(context.Context, api.ExplainRequest) (any, error) {
	return nil, errors.New("not available yet")
}

// stringers turns addresses into what the log prints.
func stringers(in []net.Addr) []fmt.Stringer {
	out := make([]fmt.Stringer, len(in))
	for i, a := range in {
		out[i] = a
	}
	return out
}
