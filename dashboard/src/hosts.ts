import type { Certificate, EntryPoint, Router } from "./api";

// hostsOf are the hosts that a rule names, of HTTP and of TCP.
export function hostsOf(rule: string): string[] {
  const hosts = new Set<string>();
  for (const call of rule.matchAll(/(!?)\s*\bHost(?:SNI)?\(([^)]*)\)/g)) {
    if (call[1]) continue;
    for (const quoted of call[2]!.matchAll(/[`"]([^`"]+)[`"]/g)) if (quoted[1] !== "*") hosts.add(quoted[1]!.toLowerCase());
  }
  return [...hosts];
}

// covers tells whether a certificate is good for a host; a wildcard stands for one label.
export function covers(certificate: Certificate, host: string): boolean {
  return [certificate.commonName, ...certificate.sans].some((name) => {
    const n = name.toLowerCase();
    return n === host || n.startsWith("*.") && host.includes(".") && n.slice(2) === host.slice(host.indexOf(".") + 1);
  });
}

// sampleAddress is an address that the router should take; "" where the rule names no host.
export function sampleAddress(router: Router, points: EntryPoint[]): string {
  const host = hostsOf(router.rule ?? "")[0];
  if (!host) return "";
  const path = /\bPath(?:Prefix)?\([`"]([^`"]+)[`"]/.exec(router.rule ?? "")?.[1] ?? "/";
  const secure = router.tls !== undefined || points.some((ep) => ep.http?.["tls"] !== undefined);
  return `${secure ? "https" : "http"}://${host}${path}`;
}
