import { get, type Certificate, type Issued, type Problem } from "./api";
import { List, type Column } from "./list";
import { useLoaded } from "./live";
import { Badge, Facts, Note, ProblemItem, StatusBadge, away, day, whole, type Kind } from "./parts";

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
      <IssuedByResolvers />
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

// most bounds what is shown at once; those that need somebody come first.
const most = 100;
const urgency: Record<Issued["state"], number> = { ended: 0, "not obtained": 1, due: 2, ordering: 3, valid: 4 };
const kinds: Record<Issued["state"], Kind> = { ended: "bad", "not obtained": "warn", due: "warn", ordering: "plain", valid: "good" };

// IssuedByResolvers tells of every set of names what becomes of it next.
function IssuedByResolvers() {
  const { data } = useLoaded<Issued[]>((signal) => get("sluice/certificates?per_page=10000", signal), "issued", 5000);
  if (!data || data.length === 0) return null;
  const sorted = [...data].sort((a, b) => Number(!!b.lastError) - Number(!!a.lastError) || urgency[a.state] - urgency[b.state] || (a.nextRenewal ?? "").localeCompare(b.nextRenewal ?? ""));
  return (
    <>
      <h2 id="issued">From resolvers</h2>
      <div class="scroll" tabIndex={0} role="region" aria-label="From resolvers, table">
        <table class="cards-on-phones" aria-labelledby="issued">
          <thead><tr>{["State", "Names", "Resolver", "Next renewal", "Trouble"].map((h) => <th key={h} scope="col">{h}</th>)}</tr></thead>
          <tbody>
            {sorted.slice(0, most).map((i) => (
              <tr key={`${i.resolver} ${i.names.join()}`}>
                <td data-head="State"><Badge kind={kinds[i.state]}>{i.state}</Badge></td>
                <td class="wide" data-head="Names"><ul class="plain">{i.names.map((n) => <li key={n}><code>{n}</code></li>)}</ul>{!i.used && <span class="soft">no router names it: it is not renewed</span>}</td>
                <td data-head="Resolver">{i.resolver}</td>
                <td data-head="Next renewal">{i.nextRenewal && i.used && <>{day(i.nextRenewal)}<br /><span class="soft">{away(i.nextRenewal)}</span></>}</td>
                <td data-head="Trouble">{i.lastError && <>{i.lastError}<br /><span class="soft">{whole(i.failures ?? 0)} failed{i.nextAttempt && <>, next attempt {away(i.nextAttempt)}</>}</span></>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {data.length > most && <Note kind="plain">{whole(most)} of {whole(data.length)} are shown, those in trouble first; the API has all.</Note>}
    </>
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
