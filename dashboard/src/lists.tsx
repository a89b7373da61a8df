import type { EntryPoint, Middleware, Router, Service } from "./api";
import { Badge, Json, List, Note, ObjectLink, StatusBadge, Tabs, type Column } from "./parts";
import { get } from "./api";
import { useLoaded } from "./live";
import { linkTo, useRoute } from "./route";

const statuses = ["enabled", "warning", "disabled"];

export function RoutersPage() {
  const kind = useRoute().query.get("kind") ?? "http";
  const columns: Column<Router>[] = [
    { head: "Status", sort: "status", cell: (r) => <StatusBadge status={r.status} /> },
    { head: "Name", sort: "name", cell: (r) => r.name },
    ...(kind === "udp" ? [] : [
      { head: "Rule", sort: "rule", wide: true, cell: (r: Router) => <code>{r.rule}</code> },
      { head: "TLS", cell: (r: Router) => (r.tls ? <Badge kind="plain">{r.tls.passthrough ? "passthrough" : r.tls.certResolver ?? "TLS"}</Badge> : "") },
    ]),
    { head: "Entry points", sort: "entryPoints", cell: (r) => (r.using ?? r.entryPoints ?? []).join(", ") },
    ...(kind === "udp" ? [] : [
      { head: "Middlewares", cell: (r: Router) => <Links to="middlewares" kind={kind} names={r.middlewares} from={r.provider} /> },
    ]),
    { head: "Service", sort: "service", cell: (r) => <Links to="services" kind={kind} names={[r.service]} from={r.provider} /> },
    ...(kind === "udp" ? [] : [{ head: "Priority", sort: "priority", cell: (r: Router) => r.priorityStr ?? r.priority }]),
  ];
  return (
    <>
      <h1>Routers</h1>
      <Tabs page="routers" tabs={["http", "tcp", "udp"]} now={kind} />
      <List<Router> key={kind} title="Routers" path={`${kind}/routers`} columns={columns} statuses={statuses} detail={(r) => <Json value={r} />} />
    </>
  );
}

export function ServicesPage() {
  const kind = useRoute().query.get("kind") ?? "http";
  const columns: Column<Service>[] = [
    { head: "Status", sort: "status", cell: (s) => <StatusBadge status={s.status} /> },
    { head: "Name", sort: "name", cell: (s) => s.name },
    { head: "Type", sort: "type", cell: (s) => s.type ?? "internal" },
    { head: "Servers", sort: "servers", wide: true, cell: (s) => <Servers service={s} kind={kind} /> },
    { head: "Used by", cell: (s) => <Links to="routers" kind={kind} names={s.usedBy} from={s.provider} /> },
  ];
  return (
    <>
      <h1>Services</h1>
      <Tabs page="services" tabs={["http", "tcp", "udp"]} now={kind} />
      <List<Service> key={kind} title="Services" path={`${kind}/services`} columns={columns} statuses={statuses} every={3000} detail={(s) => <Json value={s} />} />
    </>
  );
}

function Servers({ service, kind }: { service: Service; kind: string }) {
  const children = service.weighted?.services ?? service.highestRandomWeight?.services;
  if (children) {
    return <ul class="plain">{children.map((c) => <li key={c.name}><ObjectLink to="services" name={c.name} from={service.provider} /> weight {c.weight ?? 1}</li>)}</ul>;
  }
  if (service.mirroring) {
    const { service: main, mirrors } = service.mirroring;
    return (
      <ul class="plain">
        <li><ObjectLink to="services" name={main} from={service.provider} /></li>
        {mirrors?.map((m) => <li key={m.name}>mirror <ObjectLink to="services" name={m.name} from={service.provider} /> {m.percent ?? 0} %</li>)}
      </ul>
    );
  }
  if (service.failover) {
    return <Links to="services" kind={kind} names={[service.failover.service, service.failover.fallback]} from={service.provider} />;
  }
  const servers = service.loadBalancer?.servers ?? [];
  if (!service.loadBalancer) return null;
  if (servers.length === 0) return <Badge kind="warn">no servers</Badge>;
  return (
    <ul class="plain">
      {servers.map((s) => {
        const address = s.url ?? s.address ?? "";
        const state = service.serverStatus?.[address];
        return (
          <li key={address}>
            {state && <Badge kind={state === "UP" ? "good" : "bad"}>{state.toLowerCase()}</Badge>} <code>{address}</code>
            {s.weight !== undefined && s.weight !== 1 && <> weight {s.weight}</>}
          </li>
        );
      })}
    </ul>
  );
}

export function MiddlewaresPage() {
  const kind = useRoute().query.get("kind") ?? "http";
  const columns: Column<Middleware>[] = [
    { head: "Status", sort: "status", cell: (m) => <StatusBadge status={m.status} /> },
    { head: "Name", sort: "name", cell: (m) => m.name },
    { head: "Type", sort: "type", cell: (m) => m.type },
    { head: "Used by", wide: true, cell: (m) => <Links to="routers" kind={kind} names={m.usedBy} from={m.provider} /> },
  ];
  return (
    <>
      <h1>Middlewares</h1>
      <Tabs page="middlewares" tabs={["http", "tcp"]} now={kind} />
      <List<Middleware> key={kind} title="Middlewares" path={`${kind}/middlewares`} columns={columns} statuses={statuses} detail={(m) => <Json value={m} />} />
    </>
  );
}

function Links({ to, kind, names, from }: { to: string; kind: string; names?: string[] | undefined; from?: string | undefined }) {
  return (
    <ul class="plain">
      {(names ?? []).map((name) => {
        const full = name.includes("@") || !from ? name : `${name}@${from}`;
        return <li key={name}><a href={linkTo(to, { kind: kind === "http" ? "" : kind, search: full })}>{full}</a></li>;
      })}
    </ul>
  );
}

export function EntryPointsPage() {
  const { data, error } = useLoaded<EntryPoint[]>((signal) => get("entrypoints?per_page=1000", signal), "entrypoints");
  if (error) return <Note kind="bad">Entry points could not be loaded: {error}</Note>;
  return (
    <>
      <h1>Entry points</h1>
      {data?.length === 0 && <Note kind="plain">There are no entry points.</Note>}
      <div class="cards">
        {data?.map((ep) => (
          <article class="card" key={ep.name}>
            <h2>{ep.name}</h2>
            <strong>{ep.address}</strong>
            <span>
              {ep.http?.["tls"] !== undefined && <Badge kind="plain">TLS</Badge>} {ep.http3 !== undefined && <Badge kind="plain">HTTP/3</Badge>}{" "}
              {ep.asDefault && <Badge kind="plain">default</Badge>}
            </span>
            <details><summary>Settings</summary><Json value={ep} /></details>
          </article>
        ))}
      </div>
    </>
  );
}
