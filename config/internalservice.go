package config

// SwitchOf names the static setting that a service of the program itself needs; it is empty for
// any other name, and for what is always there.
func SwitchOf(service string) string {
	return map[string]string{
		"api@internal": "api: {} (--api)", "dashboard@internal": "api: {} (--api)", "ping@internal": "ping: {} (--ping)",
		"prometheus@internal": "metrics.prometheus (--metrics.prometheus)", "rest@internal": "providers.rest (--providers.rest)",
	}[service]
}
