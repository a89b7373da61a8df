package provider

import (
	"reflect"

	"github.com/sluice-edge/sluice/config"
)

// Reuse replaces objects of next by those of was that say the same, so that what did
// not change keeps its pointer. Both belong to the caller; was is only read.
func Reuse(was, next *config.Dynamic) {
	if was == nil || next == nil {
		return
	}
	wh, nh, wt, nt, wu, nu := parts(was, next)
	reuseMap(wh.Routers, nh.Routers)
	reuseMap(wh.Services, nh.Services)
	reuseMap(wh.Middlewares, nh.Middlewares)
	reuseMap(wh.ServersTransports, nh.ServersTransports)
	reuseMap(wt.Routers, nt.Routers)
	reuseMap(wt.Services, nt.Services)
	reuseMap(wt.Middlewares, nt.Middlewares)
	reuseMap(wt.ServersTransports, nt.ServersTransports)
	reuseMap(wu.Routers, nu.Routers)
	reuseMap(wu.Services, nu.Services)
	if reflect.DeepEqual(was.TLS, next.TLS) {
		next.TLS = was.TLS
	}
}

func reuseMap[T any](was, next map[string]*T) {
	if isSame(was, next) {
		return
	}
	for k, n := range next {
		if w := was[k]; w != nil && w != n && reflect.DeepEqual(w, n) {
			next[k] = w
		}
	}
}
