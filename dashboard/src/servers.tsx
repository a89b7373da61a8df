import type { Service } from "./api";
import { Badge, Links, ObjectLink } from "./parts";

// Health of a server. One that nobody asks is shown as up by the API; that it was asked
// is told for what has a health check or comes from an engine, which probes at the start.
export function Health({ service, kind, state }: { service: Service; kind: string; state: string | undefined }) {
  if (!state) return null;
  if (state !== "UP") return <Badge kind="bad">{state.toLowerCase()}</Badge>;
  const asked = kind !== "http" || service.loadBalancer?.healthCheck || /^(docker|swarm)/.test(service.provider ?? "");
  return asked ? <Badge kind="good">up</Badge> : <Badge kind="plain">no check</Badge>;
}

// Servers of a service, or the services it is made of.
export function Servers({ service, kind, most = Infinity }: { service: Service; kind: string; most?: number }) {
  const children = service.weighted?.services ?? service.highestRandomWeight?.services;
  if (children) {
    return (
      <ul class="plain">
        {children.map((c) => <li key={c.name}><ObjectLink to="services" kind={kind} name={c.name} from={service.provider} /> weight {c.weight ?? 1}</li>)}
      </ul>
    );
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
  if (!service.loadBalancer) return null;
  const servers = service.loadBalancer.servers ?? [];
  if (servers.length === 0) return <Badge kind="warn">no servers</Badge>;
  return (
    <ul class="plain">
      {servers.slice(0, most).map((s) => {
        const address = s.url ?? s.address ?? "";
        return (
          <li key={address}>
            <Health service={service} kind={kind} state={service.serverStatus?.[address]} /> <code>{address}</code>
            {s.weight !== undefined && s.weight !== 1 && <> weight {s.weight}</>}
          </li>
        );
      })}
      {servers.length > most && <li class="soft">and {servers.length - most} more</li>}
    </ul>
  );
}
