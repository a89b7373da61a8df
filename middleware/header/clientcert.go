package header

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// The fields that tell a server about the client's certificate.
const (
	ClientCert     = "X-Forwarded-Tls-Client-Cert"
	ClientCertInfo = "X-Forwarded-Tls-Client-Cert-Info"
)

// oidDomainComponent is the attribute DC (RFC 4519 §2.4).
const oidDomainComponent = "0.9.2342.19200300.100.1.25"

type clientCert struct {
	pem  bool
	info *config.TLSClientCertInfo
}

// NewClientCert hands the client's certificates to the server. What a client says in
// these fields itself is removed.
func NewClientCert(cfg *config.PassTLSClientCert) exchange.Op {
	return &clientCert{cfg.PEM, cfg.Info}
}

// Request implements exchange.Op.
func (c *clientCert) Request(ex *exchange.Exchange) exchange.Verdict {
	var certs []*x509.Certificate
	if ex.Req.TLS != nil {
		certs = ex.Req.TLS.PeerCertificates
	}
	fields := &ex.Req.Fields
	if c.pem {
		fields.Del(ClientCert)
		if len(certs) > 0 {
			fields.Add(ClientCert, bare(certs))
		}
	}
	if c.info != nil {
		fields.Del(ClientCertInfo)
		if info := c.describe(certs); info != "" {
			fields.Add(ClientCertInfo, url.QueryEscape(info))
		}
	}
	return exchange.Next
}

// bare is the certificates as base64 without the lines of PEM around it, joined by commas.
func bare(certs []*x509.Certificate) string {
	out := make([]string, len(certs))
	for i, cert := range certs {
		out[i] = base64.StdEncoding.EncodeToString(cert.Raw)
	}
	return strings.Join(out, ",")
}

func (c *clientCert) describe(certs []*x509.Certificate) string {
	out := make([]string, len(certs))
	for i, cert := range certs {
		out[i] = c.describeOne(cert)
	}
	return strings.Join(out, ",")
}

func (c *clientCert) describeOne(cert *x509.Certificate) string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+`="`+value+`"`)
		}
	}
	if s := c.info.Subject; s != nil {
		add("Subject", distinguished(&cert.Subject, &dn{s.Country, s.Province, s.Locality, s.Organization, s.OrganizationalUnit,
			s.CommonName, s.SerialNumber, s.DomainComponent}))
	}
	if s := c.info.Issuer; s != nil {
		add("Issuer", distinguished(&cert.Issuer, &dn{s.Country, s.Province, s.Locality, s.Organization, false,
			s.CommonName, s.SerialNumber, s.DomainComponent}))
	}
	if c.info.SerialNumber && cert.SerialNumber != nil {
		add("SerialNumber", cert.SerialNumber.String())
	}
	if c.info.NotBefore {
		add("NB", strconv.FormatInt(cert.NotBefore.Unix(), 10))
	}
	if c.info.NotAfter {
		add("NA", strconv.FormatInt(cert.NotAfter.Unix(), 10))
	}
	if c.info.SANs {
		add("SAN", strings.Join(sans(cert), ","))
	}
	return strings.Join(parts, ";")
}

// dn says which parts of a distinguished name are wanted.
type dn struct {
	country, province, locality, organization, unit, commonName, serialNumber, domainComponent bool
}

func distinguished(n *pkix.Name, want *dn) string {
	var parts []string
	add := func(on bool, key string, values ...string) {
		for _, v := range values {
			if on && v != "" {
				parts = append(parts, key+"="+v)
			}
		}
	}
	for _, a := range n.Names {
		if v, ok := a.Value.(string); ok && a.Type.String() == oidDomainComponent {
			add(want.domainComponent, "DC", v)
		}
	}
	add(want.country, "C", n.Country...)
	add(want.province, "ST", n.Province...)
	add(want.locality, "L", n.Locality...)
	add(want.organization, "O", n.Organization...)
	add(want.unit, "OU", n.OrganizationalUnit...)
	add(want.serialNumber, "SN", n.SerialNumber)
	add(want.commonName, "CN", n.CommonName)
	return strings.Join(parts, ",")
}

func sans(cert *x509.Certificate) []string {
	out := append([]string(nil), cert.DNSNames...)
	out = append(out, cert.EmailAddresses...)
	for _, ip := range cert.IPAddresses {
		out = append(out, ip.String())
	}
	for _, u := range cert.URIs {
		out = append(out, u.String())
	}
	return out
}
