//go:build !alldns

package dns

import (
	"fmt"

	"github.com/go-acme/lego/v4/challenge"
	"github.com/go-acme/lego/v4/providers/dns/exec"
	"github.com/go-acme/lego/v4/providers/dns/httpreq"
	"github.com/go-acme/lego/v4/providers/dns/rfc2136"
)

// Complete tells whether every provider of lego is built in.
const Complete = false

func provider(name string) (challenge.Provider, error) {
	switch name {
	case "exec":
		return exec.NewDNSProvider()
	case "httpreq":
		return httpreq.NewDNSProvider()
	case "rfc2136":
		return rfc2136.NewDNSProvider()
	}
	return nil, fmt.Errorf("this binary has the DNS providers exec, httpreq and rfc2136 only; build it with the tag alldns for %q", name)
}
