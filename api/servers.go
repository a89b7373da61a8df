package api

import (
	"maps"
	"slices"
)

// Server is one server of a service and whether requests are sent to it.
type Server struct {
	// Protocol is "http" or "tcp".
	Protocol string `json:"protocol"`
	Service  string `json:"service"`
	// Address is the server's URL, for TCP its host and port.
	Address string `json:"address"`
	// Status is "UP" or "DOWN"; one that no check asks counts as up.
	Status string `json:"status"`
}

// servers lists those of all services, by name of the service and address.
func (s *server) servers() []row {
	rt := s.runtime()
	var rows []row
	add := func(protocol, service, provider string, status map[string]string) {
		for _, address := range slices.Sorted(maps.Keys(status)) {
			rows = append(rows, row{
				name: service, provider: provider, status: status[address], kind: protocol, service: service, search: []string{service, address},
				body: Server{protocol, service, address, status[address]},
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rt.Services)) {
		add("http", name, providerOf(name), s.viewService(name, rt.Services[name]).ServerStatus)
	}
	for _, name := range slices.Sorted(maps.Keys(rt.TCPServices)) {
		add("tcp", name, providerOf(name), s.viewTCPService(name, rt.TCPServices[name]).ServerStatus)
	}
	return rows
}
