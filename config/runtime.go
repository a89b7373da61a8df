package config

import "time"

// Status of an object as the API shows it.
type Status string

// The states of an object.
const (
	StatusEnabled  Status = "enabled"
	StatusWarning  Status = "warning"
	StatusDisabled Status = "disabled"
)

// Runtime is a compiled configuration as the API shows it: the objects with their
// status, errors and relations. It is immutable once published. Keys carry "@provider".
type Runtime struct {
	Routers        map[string]*RouterInfo
	Services       map[string]*ServiceInfo
	Middlewares    map[string]*MiddlewareInfo
	TCPRouters     map[string]*TCPRouterInfo
	TCPServices    map[string]*TCPServiceInfo
	TCPMiddlewares map[string]*TCPMiddlewareInfo
	UDPRouters     map[string]*UDPRouterInfo
	UDPServices    map[string]*UDPServiceInfo
	Problems       []Problem
	// Generation counts published tables from 1; At is when this one was published.
	Generation uint64
	At         time.Time
}

// RouterInfo is a router with its state. Priority in it is the effective one.
type RouterInfo struct {
	*Router
	Errors []string `json:"error,omitempty"`
	Status Status   `json:"status,omitempty"`
	// Using are the entry points it is mounted on.
	Using []string `json:"using,omitempty"`
}

// ServiceInfo is a service with its state. Server health is read live by the API from a
// function the server gives it, keyed by service name.
type ServiceInfo struct {
	*Service
	Errors []string `json:"error,omitempty"`
	Status Status   `json:"status,omitempty"`
	UsedBy []string `json:"usedBy,omitempty"`
}

// MiddlewareInfo is a middleware with its state.
type MiddlewareInfo struct {
	*Middleware
	Errors []string `json:"error,omitempty"`
	Status Status   `json:"status,omitempty"`
	UsedBy []string `json:"usedBy,omitempty"`
}

// TCPRouterInfo is a TCP router with its state.
type TCPRouterInfo struct {
	*TCPRouter
	Errors []string `json:"error,omitempty"`
	Status Status   `json:"status,omitempty"`
	Using  []string `json:"using,omitempty"`
}

// TCPServiceInfo is a TCP service with its state.
type TCPServiceInfo struct {
	*TCPService
	Errors []string `json:"error,omitempty"`
	Status Status   `json:"status,omitempty"`
	UsedBy []string `json:"usedBy,omitempty"`
}

// TCPMiddlewareInfo is a TCP middleware with its state.
type TCPMiddlewareInfo struct {
	*TCPMiddleware
	Errors []string `json:"error,omitempty"`
	Status Status   `json:"status,omitempty"`
	UsedBy []string `json:"usedBy,omitempty"`
}

// UDPRouterInfo is a UDP router with its state.
type UDPRouterInfo struct {
	*UDPRouter
	Errors []string `json:"error,omitempty"`
	Status Status   `json:"status,omitempty"`
	Using  []string `json:"using,omitempty"`
}

// UDPServiceInfo is a UDP service with its state.
type UDPServiceInfo struct {
	*UDPService
	Errors []string `json:"error,omitempty"`
	Status Status   `json:"status,omitempty"`
	UsedBy []string `json:"usedBy,omitempty"`
}
