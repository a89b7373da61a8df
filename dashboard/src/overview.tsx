import { Fragment } from "preact";
import { get, type Certificate, type Overview, type Tally } from "./api";
import { Chart } from "./chart";
import { useLive, useLoaded } from "./live";
import { Badge, Note, StatusBadge } from "./parts";
import { linkTo } from "./route";

export function OverviewPage() {
  const { change, counters, samples, connected } = useLive();
  // Where the event stream does not get through, the page still shows what it can ask for.
  const asked = useLoaded<Overview>((signal) => get("overview", signal), "overview", 5000);
  const overview = change?.overview ?? asked.data;
  if (!overview) return asked.error ? <Note kind="bad">The API does not answer: {asked.error}</Note> : <Note kind="plain">Loading…</Note>;
  const last = samples.at(-1);
  return (
    <>
      <h1>Overview</h1>
      <div class="cards">
        <Card title="HTTP routers" page="routers" tally={overview.http.routers} />
        <Card title="HTTP services" page="services" tally={overview.http.services} />
        <Card title="HTTP middlewares" page="middlewares" tally={overview.http.middlewares} />
        <Card title="TCP routers" page="routers" kind="tcp" tally={overview.tcp.routers} />
        <Card title="TCP services" page="services" kind="tcp" tally={overview.tcp.services} />
        <Card title="UDP routers" page="routers" kind="udp" tally={overview.udp.routers} />
        {change && (
          <a class="card" href={linkTo("problems")}>
            <h2>Problems</h2>
            <strong>{change.problems.errors + change.problems.warnings}</strong>
            <Counts good={change.problems.errors + change.problems.warnings === 0 ? "none" : ""} warnings={change.problems.warnings} errors={change.problems.errors} />
          </a>
        )}
      </div>
      <section class="panel">
        <h2>Traffic</h2>
        {connected && counters ? (
          <>
            <dl class="figures">
              <Figure name="Requests a second" value={last ? last.requests.toFixed(last.requests < 10 ? 1 : 0) : "–"} />
              <Figure name="Requests" value={whole(counters.requests)} />
              <Figure name="Answers of 500 and above" value={whole(counters.failed)} />
              <Figure name="Open connections" value={whole(sum(counters.connections))} />
              <Figure name="Sent" value={bytes(counters.responseBytes)} />
              <Figure name="Received" value={bytes(counters.requestBytes)} />
            </dl>
            <Chart samples={samples} />
            <Reasons reasons={counters.reasons} />
          </>
        ) : (
          <Note kind="plain">Waiting for live counters…</Note>
        )}
      </section>
      <Certificates />
      <section class="panel">
        <h2>Set-up</h2>
        <p>
          {(overview.providers ?? []).map((p) => <Fragment key={p}><Badge kind="plain">{p}</Badge> </Fragment>)}
          {overview.features.accessLog && <Badge kind="plain">Access log</Badge>}{" "}
          {overview.features.metrics && <Badge kind="plain">{overview.features.metrics}</Badge>}{" "}
          {overview.features.tracing && <Badge kind="plain">{overview.features.tracing}</Badge>}
        </p>
        {change && <p>Configuration {change.generation}, live since {new Date(change.at).toLocaleString()}.</p>}
      </section>
    </>
  );
}

function Card({ title, page, kind, tally }: { title: string; page: string; kind?: string; tally: Tally }) {
  return (
    <a class="card" href={linkTo(page, kind ? { kind } : {})}>
      <h2>{title}</h2>
      <strong>{tally.total}</strong>
      <Counts good={tally.total && !tally.warnings && !tally.errors ? "all work" : ""} warnings={tally.warnings} errors={tally.errors} />
    </a>
  );
}

function Counts({ good, warnings, errors }: { good: string; warnings: number; errors: number }) {
  return (
    <span>
      {errors > 0 && <Badge kind="bad">{errors} {errors === 1 ? "error" : "errors"}</Badge>}{" "}
      {warnings > 0 && <Badge kind="warn">{warnings} {warnings === 1 ? "warning" : "warnings"}</Badge>}
      {good && <Badge kind="good">{good}</Badge>}
    </span>
  );
}

function Figure({ name, value }: { name: string; value: string }) {
  return <div><dt>{name}</dt><dd>{value}</dd></div>;
}

function Reasons({ reasons }: { reasons: Record<string, number> }) {
  const list = Object.entries(reasons).sort((a, b) => b[1] - a[1]).slice(0, 8);
  if (list.length === 0) return null;
  return (
    <>
      <h3>Answers the edge made itself, by reason</h3>
      <ul class="reasons">{list.map(([reason, n]) => <li key={reason}><code>{reason}</code> {whole(n)}</li>)}</ul>
    </>
  );
}

function Certificates() {
  const { data } = useLoaded<Certificate[]>((signal) => get("certificates?sortBy=validUntil&per_page=10", signal), "certificates", 60000);
  if (!data?.length) return null;
  return (
    <section class="panel">
      <h2>Certificates, next to end first</h2>
      <ul class="plain">
        {data.map((c) => (
          <li key={c.name}>
            <StatusBadge status={c.status} /> {c.sans.join(", ") || c.commonName} until {new Date(c.notAfter).toLocaleDateString()}
            {(c.issuerOrg ?? c.issuerCN) && <>, by {c.issuerOrg ?? c.issuerCN}</>}
          </li>
        ))}
      </ul>
    </section>
  );
}

const sum = (of: Record<string, number>) => Object.values(of).reduce((a, b) => a + b, 0);
const whole = (n: number) => n.toLocaleString();

function bytes(n: number): string {
  let unit = 0;
  for (; n >= 1024 && unit < 5; unit++) n /= 1024;
  return `${n.toFixed(unit && n < 10 ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit]}`;
}
