import { get, type Certificate, type Problem } from "./api";
import { List, type Column } from "./list";
import { useLoaded } from "./live";
import { Facts, ProblemItem, StatusBadge, away, day } from "./parts";

const issuer = (c: Certificate) => c.issuerOrg || c.issuerCN || "";

export function CertificatesPage() {
  const columns: Column<Certificate>[] = [
    { head: "Status", sort: "status", cell: (c) => <StatusBadge status={c.status} /> },
    { head: "Names", sort: "name", wide: true, cell: (c) => <Names of={c} /> },
    { head: "Issuer", sort: "issuer", cell: (c) => (issuer(c) === c.commonName ? <>{issuer(c)} <span class="soft">(itself)</span></> : issuer(c)) },
    { head: "Valid until", sort: "validUntil", cell: (c) => <>{day(c.notAfter)}<br /><span class="soft">{away(c.notAfter)}</span></> },
    { head: "Details", cell: (c) => <Details of={c} /> },
  ];
  return (
    <>
      <h1>Certificates</h1>
      <CertificateProblems />
      <List<Certificate> title="Certificates" path="certificates" columns={columns} statuses={["enabled", "warning", "expired"]} placeholder="Search name or issuer" sorted="validUntil" />
      <p class="soft">Names without a certificate of their own get the default certificate.</p>
    </>
  );
}

function Names({ of: c }: { of: Certificate }) {
  const names = c.sans.length > 0 ? c.sans : [c.commonName];
  return <ul class="plain">{names.map((n) => <li key={n}><code>{n}</code></li>)}</ul>;
}

function Details({ of: c }: { of: Certificate }) {
  return (
    <details>
      <summary><span class="hidden">Details of {c.commonName || c.sans[0]}: </span>{[c.keyType, c.keySize].filter(Boolean).join(" ")}</summary>
      <Facts facts={[
        ["Common name", c.commonName], ["Issuer", [c.issuerOrg, c.issuerCN].filter(Boolean).join(", ")],
        ["Valid from", day(c.notBefore)], ["Valid until", day(c.notAfter)],
        ["Fingerprint", <code key="f">{c.name}</code>],
      ]} />
    </details>
  );
}

// What is wrong with certificates: those that cannot be used, got or renewed.
export const aboutCertificates = (p: Problem) => /certificate|resolver|acme/.test(p.code) || /^(tls|acme|certificate)/.test(p.source);

function CertificateProblems() {
  const { data } = useLoaded<Problem[]>((signal) => get("sluice/problems", signal), "problems");
  const mine = (data ?? []).filter(aboutCertificates);
  if (mine.length === 0) return null;
  return <ul class="problems" aria-label="Problems of certificates">{mine.map((p, i) => <ProblemItem key={i} problem={p} />)}</ul>;
}
