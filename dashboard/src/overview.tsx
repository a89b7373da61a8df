import { get, type Certificate, type EntryPoint, type Overview, type Problem, type ServerState, type Tally } from "./api";
import { Chart } from "./chart";
import { EntryPointCards } from "./lists";
import { useLive, useLoaded, type Sample } from "./live";
import { Badge, Facts, Note, ObjectLink, ProblemObject, StatusBadge, away, bytes, day, whole } from "./parts";
import { meaning, usual } from "./reasons";
import { linkTo } from "./route";

export function OverviewPage() {
  const { change } = useLive();
  // Where the event stream does not get through, the page still shows what it can ask for.
  const asked = useLoaded<Overview>((signal) => get("overview", signal), "overview", 5000);
  const overview = change?.overview ?? asked.data;
  if (!overview) return <><h1>Overview</h1>{asked.error ? <Note kind="bad">The API does not answer: {asked.error}</Note> : <Note kind="plain">Loading…</Note>}</>;
  const { http, tcp, udp } = overview;
  return (
    <>
      <h1>Overview</h1>
      <Problems />
      <AwayServers />
      <EntryPoints />
      <div class="protocols">
        <Protocol name="HTTP" kind="http" tallies={[["routers", http.routers], ["services", http.services], ["middlewares", http.middlewares]]} />
        <Protocol name="TCP" kind="tcp" tallies={[["routers", tcp.routers], ["services", tcp.services], ["middlewares", tcp.middlewares]]} />
        <Protocol name="UDP" kind="udp" tallies={[["routers", udp.routers], ["services", udp.services]]} />
      </div>
      <Traffic />
      <Certificates tally={overview.certificates} />
      <section class="panel">
        <h2>Set-up</h2>
        <Facts facts={[
          ["Providers", (overview.providers ?? []).join(", ") || "none"],
          ["Access log", overview.features.accessLog ? "on" : "off"],
          ["Metrics", overview.features.metrics || "off"],
          ["Tracing", overview.features.tracing || "off"],
          ["Configuration", change && `number ${whole(change.generation)}, live since ${new Date(change.at).toLocaleString()}`],
        ]} />
      </section>
    </>
  );
}

// Problems are the worst ones, and how many more there are.
function Problems() {
  const { data } = useLoaded<Problem[]>((signal) => get("sluice/problems", signal), "problems");
  if (!data) return null;
  if (data.length === 0) return <p class="note plain"><Badge kind="good">no problems</Badge> Everything that is configured works.</p>;
  const few = 3;
  return (
    <section class={`panel problem ${data[0]!.severity === "warning" ? "warn" : "bad"}`} aria-label="Problems">
      <h2><a href={linkTo("problems")}>Problems</a></h2>
      <ul class="lines">
        {data.slice(0, few).map((p, i) => (
          <li key={i}>
            <Badge kind={p.severity === "warning" ? "warn" : "bad"}>{p.severity}</Badge> <ProblemObject problem={p} /> {p.text}
            {p.suggestion && <span class="remedy"> <span aria-hidden="true">→</span> {p.suggestion}</span>}
          </li>
        ))}
      </ul>
      {data.length > few && <p><a href={linkTo("problems")}>All {whole(data.length)} problems</a></p>}
    </section>
  );
}

// AwayServers are those that get no requests, as their check fails or as they have not
// answered yet.
function AwayServers() {
  const few = 5;
  const { data } = useLoaded<ServerState[]>((signal) => get(`sluice/servers?status=down&per_page=${few + 1}`, signal), "servers", 5000);
  if (!data?.length) return null;
  return (
    <section class="panel problem warn" aria-label="Servers that are down">
      <h2>Servers that are down</h2>
      <ul class="lines">
        {data.slice(0, few).map((s) => (
          <li key={`${s.service} ${s.address}`}>
            <Badge kind="bad">down</Badge> <code>{s.address}</code> of <ObjectLink to="services" kind={s.protocol} name={s.service} />
          </li>
        ))}
      </ul>
      {data.length > few && <p><a href={linkTo("services")}>and more</a></p>}
    </section>
  );
}

function EntryPoints() {
  const { data } = useLoaded<EntryPoint[]>((signal) => get("entrypoints?per_page=1000", signal), "entrypoints");
  if (!data?.length) return null;
  return <section aria-label="Entry points"><h2><a href={linkTo("entrypoints")}>Entry points</a></h2><EntryPointCards of={data} /></section>;
}

function Protocol({ name, kind, tallies }: { name: string; kind: string; tallies: [string, Tally][] }) {
  return (
    <section class="panel" aria-label={name}>
      <h2>{name}</h2>
      <div class="tallies">
        {tallies.map(([what, tally]) => (
          <TallyCard key={what} what={what} tally={tally} link={(status) => linkTo(what, { kind: kind === "http" ? "" : kind, status })} />
        ))}
      </div>
    </section>
  );
}

function TallyCard({ what, tally: t, link }: { what: string; tally: Tally; link: (status: string) => string }) {
  const good = t.total - t.warnings - t.errors;
  return (
    <div class="tally">
      <a href={link("")}><strong>{whole(t.total)}</strong> {what}</a>
      <div class="bar" aria-hidden="true">
        {([["good", good], ["warn", t.warnings], ["bad", t.errors]] as const).map(([k, n]) => n > 0 && <span key={k} class={k} style={{ flexGrow: n }} />)}
      </div>
      <p>
        {t.errors > 0 && <a href={link("disabled")}><Badge kind="bad">{whole(t.errors)} {t.errors === 1 ? "error" : "errors"}</Badge></a>}{" "}
        {t.warnings > 0 && <a href={link("warning")}><Badge kind="warn">{whole(t.warnings)} {t.warnings === 1 ? "warning" : "warnings"}</Badge></a>}
        {t.total > 0 && good === t.total && <Badge kind="good">all work</Badge>}
      </p>
    </div>
  );
}

function Traffic() {
  const { counters, samples, connected } = useLive();
  const last = samples.at(-1);
  return (
    <section class="panel">
      <h2>Traffic</h2>
      {connected && counters ? (
        <>
          <dl class="figures">
            <Figure name="Requests a second" value={last ? last.requests.toFixed(last.requests < 10 ? 1 : 0) : "–"} />
            <Figure name="Requests" value={whole(counters.requests)} />
            {Object.entries(counters.classes).sort().map(([name, n]) => <Figure key={name} name={name} value={whole(n)} />)}
            <Figure name="Retries" value={whole(counters.retries)} />
            <Figure name="Open connections" value={whole(Object.values(counters.connections).reduce((a, b) => a + b, 0))} />
            <Figure name="Sent" value={bytes(counters.responseBytes)} />
            <Figure name="Received" value={bytes(counters.requestBytes)} />
          </dl>
          <Chart samples={samples} />
          <Reasons reasons={counters.reasons} samples={samples} />
        </>
      ) : (
        <Note kind="plain">Waiting for live counters…</Note>
      )}
    </section>
  );
}

function Figure({ name, value }: { name: string; value: string }) {
  return <div><dt>{name}</dt><dd>{value}</dd></div>;
}

// Reasons are the answers that the edge made itself: what each means, and how many there
// were since the start and while this page was looking.
function Reasons({ reasons, samples }: { reasons: Record<string, number>; samples: Sample[] }) {
  const list = Object.entries(reasons).filter(([reason, n]) => n > 0 && !usual.has(reason)).sort((a, b) => b[1] - a[1]);
  if (list.length === 0) return null;
  const before = samples[0]?.reasons ?? reasons;
  return (
    <>
      <h3>Answers the edge made itself</h3>
      <div class="scroll" tabIndex={0} role="region" aria-label="Answers the edge made itself, table">
        <table class="cards-on-phones">
          <thead><tr><th scope="col">Reason</th><th scope="col">Status</th><th scope="col">Meaning</th><th scope="col" class="number">Since the start</th><th scope="col" class="number">Last minutes</th></tr></thead>
          <tbody>
            {list.map(([reason, n]) => (
              <tr key={reason}>
                <td data-head="Reason"><code>{reason}</code></td>
                <td data-head="Status">{meaning(reason).status}</td>
                <td data-head="Meaning" class="wide">{meaning(reason).text}</td>
                <td data-head="Since the start" class="number">{whole(n)}</td>
                <td data-head="Last minutes" class="number">{whole(n - (before[reason] ?? 0))}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function Certificates({ tally }: { tally: Tally }) {
  const { data } = useLoaded<Certificate[]>((signal) => get("certificates?sortBy=validUntil&per_page=5", signal), "certificates", 60000);
  if (!data?.length) return null;
  return (
    <section class="panel">
      <h2><a href={linkTo("certificates")}>Certificates</a>, next to end first</h2>
      <ul class="plain">
        {data.map((c) => (
          <li key={c.name}><StatusBadge status={c.status} /> {c.sans.join(", ") || c.commonName} until {day(c.notAfter)}, {away(c.notAfter)}</li>
        ))}
      </ul>
      {tally.total > data.length && <p><a href={linkTo("certificates", { sort: "validUntil", dir: "asc" })}>All {whole(tally.total)} certificates</a></p>}
    </section>
  );
}
