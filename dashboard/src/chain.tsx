import type { ComponentChildren } from "preact";
import { item, type Middleware, type Service } from "./api";
import { useLoaded } from "./live";
import { Badge, ObjectLink } from "./parts";
import { Servers } from "./servers";
import { fullName } from "./route";

// Link is a name and what is behind it, null where nothing has that name.
export interface Link<T> { name: string; object: T | null }

// deepest bounds what is drawn of services and middlewares that are made of others.
const deepest = 5;

export function Step({ title, children }: { title: string; children: ComponentChildren }) {
  return <li class="step"><h3>{title}</h3>{children}</li>;
}

function State({ of }: { of: { status?: string } | null }) {
  if (!of) return <Badge kind="bad">missing</Badge>;
  if (of.status === "enabled" || of.status === undefined) return null;
  return <Badge kind={of.status === "warning" ? "warn" : "bad"}>{of.status}</Badge>;
}

export function MiddlewareStep({ kind, link }: { kind: string; link: Link<Middleware> }) {
  return (
    <Step title="Middleware">
      <MiddlewareBox kind={kind} link={link} depth={0} />
    </Step>
  );
}

function MiddlewareBox({ kind, link: { name, object }, depth }: { kind: string; link: Link<Middleware>; depth: number }) {
  const inner = (object?.["chain"] as { middlewares?: string[] } | undefined)?.middlewares ?? [];
  return (
    <>
      <p><ObjectLink to="middlewares" kind={kind} name={name} /> <State of={object} /></p>
      {object?.type && <p class="soft">{object.type}</p>}
      {inner.length > 0 && depth < deepest && (
        <ol class="inner">{inner.map((n) => <li key={n}><Inner kind={kind} name={fullName(n, object?.provider)} depth={depth + 1} /></li>)}</ol>
      )}
    </>
  );
}

function Inner({ kind, name, depth }: { kind: string; name: string; depth: number }) {
  const { data, loading } = useLoaded<Middleware | null>((signal) => item<Middleware>(`${kind}/middlewares`, name, signal), `${kind} middleware ${name}`);
  return loading ? <>{name}</> : <MiddlewareBox kind={kind} link={{ name, object: data }} depth={depth} />;
}

export function ServiceStep({ kind, link }: { kind: string; link: Link<Service> }) {
  return (
    <Step title="Service">
      <ServiceBox kind={kind} link={link} depth={0} />
    </Step>
  );
}

// childrenOf are the services that a service is made of, each with its part in it.
function childrenOf(s: Service): { name: string; part: string }[] {
  const weighted = s.weighted?.services ?? s.highestRandomWeight?.services;
  if (weighted) return weighted.map((c) => ({ name: c.name, part: `weight ${c.weight ?? 1}` }));
  if (s.mirroring) return [{ name: s.mirroring.service, part: "answers" }, ...(s.mirroring.mirrors ?? []).map((m) => ({ name: m.name, part: `mirror of ${m.percent ?? 0} %` }))];
  if (s.failover) return [{ name: s.failover.service, part: "first" }, { name: s.failover.fallback, part: "fallback" }];
  return [];
}

function ServiceBox({ kind, link: { name, object }, depth }: { kind: string; link: Link<Service>; depth: number }) {
  const children = object ? childrenOf(object) : [];
  return (
    <>
      <p><ObjectLink to="services" kind={kind} name={name} /> <State of={object} /></p>
      {object?.type && <p class="soft">{object.type}{object.loadBalancer?.strategy && `, ${object.loadBalancer.strategy}`}</p>}
      {object && children.length === 0 && <Servers service={object} kind={kind} most={12} />}
      {children.length > 0 && depth < deepest && (
        <ul class="inner">
          {children.map((c) => <li key={c.name}><span class="soft">{c.part}</span> <Child kind={kind} name={fullName(c.name, object?.provider)} depth={depth + 1} /></li>)}
        </ul>
      )}
    </>
  );
}

function Child({ kind, name, depth }: { kind: string; name: string; depth: number }) {
  const { data, loading } = useLoaded<Service | null>((signal) => item<Service>(`${kind}/services`, name, signal), `${kind} service ${name}`, 3000);
  return loading ? <>{name}</> : <ServiceBox kind={kind} link={{ name, object: data }} depth={depth} />;
}
