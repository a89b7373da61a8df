import type { ComponentChildren } from "preact";
import { get, item, type Certificate, type EntryPoint, type Middleware, type Router, type Service } from "./api";
import { MiddlewareStep, ServiceStep, Step, type Link } from "./chain";
import { covers, hostsOf, sampleAddress } from "./hosts";
import { useLoaded } from "./live";
import { Badge, Facts, Links, Note, ObjectLink, ProblemsOf, Source, StatusBadge, away, day, priority } from "./parts";
import { Servers } from "./servers";
import { fullName, linkTo, useRoute } from "./route";

// The kinds of an object's labels, by its protocol, as Problems spell them.
const objectName = (kind: string, what: string, name: string) => `${kind === "http" ? "" : `${kind} `}${what} ${name}`;

function useNamed() {
  const { query } = useRoute();
  return { kind: query.get("kind") ?? "http", name: query.get("name") ?? "" };
}

interface FrameProps<T> { what: string; list: string; kind: string; name: string; loaded: { data: T | null; error: string; loading: boolean }; children: (data: T) => ComponentChildren }

// Frame is what the pages of objects have in common.
function Frame<T extends { status?: Router["status"] }>({ what, list, kind, name, loaded: { data, error, loading }, children }: FrameProps<T>) {
  return (
    <>
      <nav aria-label="Up"><a href={linkTo(list, kind === "http" ? {} : { kind })}>{list[0]!.toUpperCase() + list.slice(1)}</a> <span aria-hidden="true">›</span></nav>
      <h1 class="name">{name} {data && <StatusBadge status={data.status} />}</h1>
      {error && <Note kind="bad">The {what} could not be loaded: {error}</Note>}
      {!data && !error && (loading ? <Note kind="plain">Loading…</Note> : <Note kind="plain">There is no {kind.toUpperCase()} {what} {name}. It may have gone with its container.</Note>)}
      {data && children(data)}
    </>
  );
}

interface RouterChain { router: Router; status?: Router["status"]; points: EntryPoint[]; middlewares: Link<Middleware>[]; service: Link<Service>; certificates: Certificate[] }

async function loadRouter(kind: string, name: string, signal: AbortSignal): Promise<RouterChain | null> {
  const router = await item<Router>(`${kind}/routers`, name, signal);
  if (!router) return null;
  const all = await get<EntryPoint[]>("entrypoints?per_page=1000", signal);
  const used = router.using ?? router.entryPoints ?? [];
  const names = (router.middlewares ?? []).map((m) => fullName(m, router.provider));
  const service = fullName(router.service, router.provider);
  return {
    router, ...(router.status ? { status: router.status } : {}), points: used.map((n) => all.find((ep) => ep.name === n) ?? { name: n, address: "" }),
    middlewares: await Promise.all(names.map(async (n) => ({ name: n, object: await item<Middleware>(`${kind}/middlewares`, n, signal) }))),
    service: { name: service, object: await item<Service>(`${kind}/services`, service, signal) },
    certificates: router.tls ? await get<Certificate[]>("certificates?per_page=1000", signal) : [],
  };
}

// RouterPage shows the way of a request: entry points, router, middlewares, service, servers.
export function RouterPage() {
  const { kind, name } = useNamed();
  const loaded = useLoaded<RouterChain | null>((signal) => loadRouter(kind, name, signal), `${kind} router ${name}`, 3000);
  return (
    <Frame what="router" list="routers" kind={kind} name={name} loaded={loaded}>
      {({ router: r, points, middlewares, service, certificates }) => (
        <>
          <ProblemsOf object={objectName(kind, "router", name)} said={r.error} />
          <section class="panel" aria-label="Way of a request">
            <h2>Way of a request</h2>
            <ol class="chain">
              <Step title="Entry points">
                <ul class="plain">{points.map((ep) => <li key={ep.name}><strong>{ep.name}</strong> {ep.address ? <code>{ep.address}</code> : <Badge kind="bad">missing</Badge>}</li>)}</ul>
                {r.tls && <p><Badge kind="plain">{r.tls.passthrough ? "TLS passthrough" : "TLS"}</Badge></p>}
              </Step>
              <Step title="Router">
                <strong class="name">{name}</strong>
                {r.rule && <p><code>{r.rule}</code></p>}
                {kind !== "udp" && <p class="soft">priority {priority(r)}</p>}
              </Step>
              {middlewares.map((m) => <MiddlewareStep key={m.name} kind={kind} link={m} />)}
              <ServiceStep kind={kind} link={service} />
            </ol>
            {kind === "http" && r.rule && sampleAddress(r, points) && (
              <p><a href={linkTo("explain", { url: sampleAddress(r, points) })}>Explain a request to it</a></p>
            )}
          </section>
          <section class="panel">
            <h2>Settings</h2>
            <Facts facts={[
              ["Provider", r.provider], ["Rule", r.rule && <code>{r.rule}</code>], ["Rule syntax", r.ruleSyntax],
              ["Priority", kind === "udp" ? "" : priority(r)],
              ["TLS", r.tls ? `${r.tls.passthrough ? "passed through" : "ended here"}, options ${r.tls.options ?? "default"}` : kind === "udp" ? "" : "none"],
              ["Certificate resolver", r.tls?.certResolver],
              ["Domains", (r.tls?.domains ?? []).map((d) => [d.main, ...(d.sans ?? [])].join(", ")).join("; ")],
              ["Certificates", r.tls && !r.tls.passthrough && <RouterCertificates router={r} all={certificates} />],
            ]} />
          </section>
          <Source value={r} />
        </>
      )}
    </Frame>
  );
}

// RouterCertificates tells for each host of the rule which certificate is offered.
function RouterCertificates({ router, all }: { router: Router; all: Certificate[] }) {
  const hosts = hostsOf(router.rule ?? "");
  if (hosts.length === 0) return <>by the server name that the client asks for</>;
  return (
    <ul class="plain">
      {hosts.map((host) => {
        const best = all.filter((c) => covers(c, host)).sort((a, b) => b.notAfter.localeCompare(a.notAfter))[0];
        return (
          <li key={host}>
            <code>{host}</code>{" "}
            {best ? <><StatusBadge status={best.status} /> until {day(best.notAfter)}, {away(best.notAfter)}</> : <Badge kind="warn">none of its own: the default certificate</Badge>}
          </li>
        );
      })}
    </ul>
  );
}

export function ServicePage() {
  const { kind, name } = useNamed();
  const loaded = useLoaded<Service | null>((signal) => item<Service>(`${kind}/services`, name, signal), `${kind} service ${name}`, 2000);
  return (
    <Frame what="service" list="services" kind={kind} name={name} loaded={loaded}>
      {(s) => {
        const lb = s.loadBalancer, check = lb?.healthCheck;
        return (
          <>
            <ProblemsOf object={objectName(kind, "service", name)} said={s.error} />
            <section class="panel">
              <h2>{lb ? "Servers" : "Made of"}</h2>
              <Servers service={s} kind={kind} />
              {!lb && !s.weighted && !s.highestRandomWeight && !s.mirroring && !s.failover && <p>The edge answers by itself.</p>}
            </section>
            <section class="panel">
              <h2>Settings</h2>
              <Facts facts={[
                ["Provider", s.provider], ["Type", s.type ?? "internal"], ["Strategy", lb?.strategy],
                ["Health check", lb ? (check ? [check.mode, check.path, check.interval && `every ${check.interval}`, check.timeout && `time-out ${check.timeout}`].filter(Boolean).join(", ") : "none") : ""],
                ["Sticky", lb?.sticky && `by the cookie ${lb.sticky.cookie?.name ?? "with a name of its own"}`],
                ["Host passed on", lb && kind === "http" ? (lb.passHostHeader === false ? "no" : "yes") : ""],
                ["Servers' transport", lb?.serversTransport],
                ["Used by routers", s.usedBy?.length ? <Links to="routers" kind={kind} names={s.usedBy} from={s.provider} /> : "none"],
              ]} />
            </section>
            <Source value={s} />
          </>
        );
      }}
    </Frame>
  );
}

const outside = new Set(["name", "provider", "type", "status", "usedBy", "error"]);

export function MiddlewarePage() {
  const { kind, name } = useNamed();
  const loaded = useLoaded<Middleware | null>((signal) => item<Middleware>(`${kind}/middlewares`, name, signal), `${kind} middleware ${name}`);
  return (
    <Frame what="middleware" list="middlewares" kind={kind} name={name} loaded={loaded}>
      {(m) => (
        <>
          <ProblemsOf object={objectName(kind, "middleware", name)} said={m.error} />
          <section class="panel">
            <h2>Settings</h2>
            <Facts facts={[["Provider", m.provider], ["Type", m.type], ...options(m)]} />
          </section>
          <section class="panel">
            <h2>Used by routers</h2>
            {m.usedBy?.length ? <ul class="plain">{m.usedBy.map((r) => <li key={r}><ObjectLink to="routers" kind={kind} name={r} from={m.provider} /></li>)}</ul> : <p>None.</p>}
          </section>
          <Source value={m} />
        </>
      )}
    </Frame>
  );
}

// options are the settings of a middleware, one a line.
function options(m: Middleware): [string, ComponentChildren][] {
  const body = Object.entries(m).find(([key]) => !outside.has(key))?.[1];
  const lines: [string, ComponentChildren][] = [];
  const walk = (prefix: string, value: unknown) => {
    if (Array.isArray(value) && value.every((v) => typeof v !== "object")) lines.push([prefix, <code key={prefix}>{value.join(", ")}</code>]);
    else if (value !== null && typeof value === "object") Object.entries(value).forEach(([key, v]) => walk(prefix ? `${prefix}.${key}` : key, v));
    else lines.push([prefix, <code key={prefix}>{String(value)}</code>]);
  };
  walk("", body ?? {});
  return lines;
}
