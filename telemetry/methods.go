package telemetry

import "net/http"

// otherMethod stands for every method that is not in the list of HTTP's own, as in the
// reference: a client must not be able to make series.
const otherMethod = "EXTENSION_METHOD"

func methodNames() [10]string {
	return [10]string{
		http.MethodGet, http.MethodPost, http.MethodHead, http.MethodPut, http.MethodDelete,
		http.MethodOptions, http.MethodPatch, http.MethodConnect, http.MethodTrace, otherMethod,
	}
}

func methodIndex(m string) uint8 {
	switch m {
	case http.MethodGet:
		return 0
	case http.MethodPost:
		return 1
	case http.MethodHead:
		return 2
	case http.MethodPut:
		return 3
	case http.MethodDelete:
		return 4
	case http.MethodOptions:
		return 5
	case http.MethodPatch:
		return 6
	case http.MethodConnect:
		return 7
	case http.MethodTrace:
		return 8
	}
	return 9
}

// Protocol is what a request speaks over HTTP, as metrics tell requests apart.
type Protocol uint8

// The protocols. A call of gRPC counts by its own status, not by that of HTTP.
const (
	PlainHTTP Protocol = iota
	WebSocket
	EventStream
	GRPCWeb
	GRPC
	protocolCount
)

func protocolNames() [protocolCount]string {
	return [protocolCount]string{"http", "websocket", "sse", "grpc-web", "grpc"}
}
