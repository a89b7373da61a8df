import type { EntryPoint, Middleware, Router, Service } from "./api";
import { get } from "./api";
import { List, type Column } from "./list";
import { useLive, useLoaded } from "./live";
import { Badge, Json, Links, Note, ObjectLink, StatusBadge, Tabs, priority, whole } from "./parts";
import { Servers } from "./servers";
import { useRoute } from "./route";

const statuses = ["enabled", "warning", "disabled"];

// useProviders are the providers that a list can be cut down to.
function useProviders(): string[] {
  const names = (useLive().change?.overview.providers ?? []).map((p) => p.toLowerCase());
  return [...names, "internal"];
}

function Errors({ of }: { of: string[] | undefined }) {
  return <>{of?.map((text) => <p class="error" key={text}>{text}</p>)}</>;
}

export function RoutersPage() {
  const kind = useRoute().query.get("kind") ?? "http";
  const providers = useProviders();
  const columns: Column<Router>[] = [
    { head: "Status", sort: "status", cell: (r) => <StatusBadge status={r.status} /> },
    { head: "Name", sort: "name", cell: (r) => <ObjectLink to="routers" kind={kind} name={r.name} /> },
    {
      head: kind === "udp" ? "Errors" : "Rule", wide: true, ...(kind === "udp" ? {} : { sort: "rule" }),
      cell: (r) => <>{r.rule && <code>{r.rule}</code>}<Errors of={r.error} /></>,
    },
    {
      head: "Entry points", sort: "entryPoints",
      cell: (r) => <>{(r.using ?? r.entryPoints ?? []).join(", ")} {r.tls && <Badge kind="plain">{r.tls.passthrough ? "TLS passthrough" : r.tls.certResolver ? `TLS, ${r.tls.certResolver}` : "TLS"}</Badge>}</>,
    },
    ...(kind === "udp" ? [] : [
      { head: "Middlewares", cell: (r: Router) => <Links to="middlewares" kind={kind} names={r.middlewares} from={r.provider} /> },
    ]),
    { head: "Service", sort: "service", cell: (r) => <Links to="services" kind={kind} names={[r.service]} from={r.provider} /> },
    ...(kind === "udp" ? [] : [{ head: "Priority", sort: "priority", cell: (r: Router) => priority(r) }]),
  ];
  return (
    <>
      <h1>Routers</h1>
      <Tabs page="routers" tabs={["http", "tcp", "udp"]} now={kind} />
      <List<Router> key={kind} title="Routers" path={`${kind}/routers`} columns={columns} statuses={statuses} providers={providers} placeholder="Search name or rule" />
    </>
  );
}

export function ServicesPage() {
  const kind = useRoute().query.get("kind") ?? "http";
  const providers = useProviders();
  const columns: Column<Service>[] = [
    { head: "Status", sort: "status", cell: (s) => <StatusBadge status={s.status} /> },
    { head: "Name", sort: "name", cell: (s) => <ObjectLink to="services" kind={kind} name={s.name} /> },
    { head: "Type", sort: "type", cell: (s) => s.type ?? "internal" },
    { head: "Servers", sort: "servers", wide: true, cell: (s) => <><Servers service={s} kind={kind} most={6} /><Errors of={s.error} /></> },
    { head: "Used by", cell: (s) => <Links to="routers" kind={kind} names={s.usedBy} from={s.provider} /> },
  ];
  return (
    <>
      <h1>Services</h1>
      <Tabs page="services" tabs={["http", "tcp", "udp"]} now={kind} />
      <List<Service> key={kind} title="Services" path={`${kind}/services`} columns={columns} statuses={statuses} providers={providers} every={3000} />
    </>
  );
}

export function MiddlewaresPage() {
  const kind = useRoute().query.get("kind") ?? "http";
  const providers = useProviders();
  const columns: Column<Middleware>[] = [
    { head: "Status", sort: "status", cell: (m) => <StatusBadge status={m.status} /> },
    { head: "Name", sort: "name", cell: (m) => <><ObjectLink to="middlewares" kind={kind} name={m.name} /><Errors of={m.error} /></> },
    { head: "Type", sort: "type", cell: (m) => m.type },
    { head: "Used by", wide: true, cell: (m) => <Links to="routers" kind={kind} names={m.usedBy} from={m.provider} /> },
  ];
  return (
    <>
      <h1>Middlewares</h1>
      <Tabs page="middlewares" tabs={["http", "tcp"]} now={kind} />
      <List<Middleware> key={kind} title="Middlewares" path={`${kind}/middlewares`} columns={columns} statuses={statuses} providers={providers} />
    </>
  );
}

export function EntryPointsPage() {
  const { data, error } = useLoaded<EntryPoint[]>((signal) => get("entrypoints?per_page=1000", signal), "entrypoints");
  return (
    <>
      <h1>Entry points</h1>
      {error && <Note kind="bad">Entry points could not be loaded: {error}</Note>}
      {data?.length === 0 && <Note kind="plain">There are no entry points.</Note>}
      <EntryPointCards of={data ?? []} settings />
    </>
  );
}

// EntryPointCards are the entry points with how many connections are open.
export function EntryPointCards({ of, settings }: { of: EntryPoint[]; settings?: boolean }) {
  const { counters } = useLive();
  const Heading = settings ? "h2" : "h3";
  return (
    <div class="cards">
      {of.map((ep) => (
        <article class="card" key={ep.name}>
          <Heading>{ep.name}</Heading>
          <strong>{ep.address}</strong>
          <p>
            {counters && <span class="soft">{whole(counters.connections[ep.name] ?? 0)} open </span>}
            {ep.http?.["tls"] !== undefined && <Badge kind="plain">TLS</Badge>} {ep.http3 !== undefined && <Badge kind="plain">HTTP/3</Badge>}{" "}
            {ep.asDefault && <Badge kind="plain">default</Badge>}
          </p>
          {settings && <details><summary>Settings</summary><Json value={ep} /></details>}
        </article>
      ))}
    </div>
  );
}
