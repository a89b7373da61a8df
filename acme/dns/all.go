//go:build alldns

package dns

import (
	"github.com/go-acme/lego/v4/challenge"
	"github.com/go-acme/lego/v4/providers/dns"
)

// Complete tells whether every provider of lego is built in.
const Complete = true

func provider(name string) (challenge.Provider, error) {
	return dns.NewDNSChallengeProviderByName(name)
}
