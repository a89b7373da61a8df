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

func protocolNames() [3]string { return [3]string{"http", "websocket", "sse"} }

func protocolIndex(r *Record) uint8 {
	switch {
	case r.Upgrade != "" && foldEqual(r.Upgrade, "websocket"):
		return 1
	case r.EventStream:
		return 2
	}
	return 0
}
