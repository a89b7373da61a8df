// What the API answers, and how it is asked. Addresses are relative to the page, which
// stands at ".../dashboard/" and the API at ".../api".

export type Status = "enabled" | "warning" | "disabled" | "expired";

export interface Tally { total: number; warnings: number; errors: number }

export interface Overview {
  http: { routers: Tally; services: Tally; middlewares: Tally };
  tcp: { routers: Tally; services: Tally; middlewares: Tally };
  udp: { routers: Tally; services: Tally };
  certificates: Tally;
  features: { tracing: string; metrics: string; accessLog: boolean };
  providers?: string[];
}

export interface Counters {
  requests: number;
  failed: number;
  retries: number;
  requestBytes: number;
  responseBytes: number;
  classes: Record<string, number>;
  reasons: Record<string, number>;
  connections: Record<string, number>;
  linesDropped: number;
}

export interface Change {
  generation: number;
  at: string;
  overview: Overview;
  problems: { errors: number; warnings: number };
}

export interface Version { Version: string; Codename: string; startDate: string; dashboardName?: string }

export interface Named { name: string; provider?: string; status?: Status; error?: string[]; type?: string }

export type Protocol = "http" | "tcp" | "udp";

export interface Router extends Named {
  entryPoints?: string[];
  middlewares?: string[];
  service: string;
  rule?: string;
  ruleSyntax?: string;
  priority?: number;
  priorityStr?: string;
  tls?: { options?: string; certResolver?: string; passthrough?: boolean; domains?: { main?: string; sans?: string[] }[] };
  using?: string[];
}

export interface Server { url?: string; address?: string; weight?: number }

// ServerState is a server of some service, and whether requests are sent to it.
export interface ServerState { protocol: Protocol; service: string; address: string; status: string }

export interface HealthCheck { path?: string; port?: number; interval?: string; timeout?: string; mode?: string }

export interface Service extends Named {
  loadBalancer?: {
    servers?: Server[]; strategy?: string; healthCheck?: HealthCheck; sticky?: { cookie?: { name?: string } };
    passHostHeader?: boolean; serversTransport?: string;
  };
  weighted?: { services?: { name: string; weight?: number }[] };
  highestRandomWeight?: { services?: { name: string; weight?: number }[] };
  mirroring?: { service: string; mirrors?: { name: string; percent?: number }[] };
  failover?: { service: string; fallback: string };
  serverStatus?: Record<string, string>;
  usedBy?: string[];
}

export interface Middleware extends Named { usedBy?: string[]; [kind: string]: unknown }

export interface EntryPoint { name: string; address: string; asDefault?: boolean; http?: Record<string, unknown>; http3?: unknown }

export interface Certificate {
  name: string; commonName: string; sans: string[]; issuerOrg?: string; issuerCN?: string;
  notBefore: string; notAfter: string; status: Status; keyType?: string; keySize?: number;
}

export interface Issued {
  resolver: string; names: string[]; state: "valid" | "due" | "ended" | "ordering" | "not obtained";
  certFingerprint?: string; issuer?: string; notAfter?: string; nextRenewal?: string; used: boolean;
  failures?: number; lastError?: string; nextAttempt?: string;
}

export interface Problem {
  source: string; provider?: string; object?: string; field?: string;
  code: string; text: string; suggestion?: string; severity: "error" | "warning";
}

export interface Candidate {
  router: string; rule: string; priority: number; entryPoints: string[] | null; tls: boolean;
  serves: boolean; matches: boolean; failed?: { matcher: string; got: string }[]; obstacle?: string; errors?: string[];
}

export interface Explanation {
  entryPoint: string; tls: boolean; host: string; path: string;
  router?: string; service?: string; reason?: string; candidates: Candidate[] | null;
}

const base = new URL("../api/", document.baseURI.replace(/#.*$/, ""));

// Failure is an answer that is not one; status is 0 where there was none at all.
export class Failure extends Error {
  constructor(message: string, readonly status: number) { super(message); }
}

async function ask(path: string, signal?: AbortSignal): Promise<Response> {
  const response = await fetch(new URL(path, base), signal ? { signal } : {});
  if (response.ok) return response;
  const body = (await response.json().catch(() => null)) as { message?: string } | null;
  throw new Failure(body?.message ?? `${response.status} ${response.statusText}`, response.status);
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await ask(path, signal)).json() as Promise<T>;
}

// item asks for one object; null if there is none of that name.
export async function item<T>(path: string, name: string, signal?: AbortSignal): Promise<T | null> {
  try {
    return await get<T>(`${path}/${encodeURIComponent(name)}`, signal);
  } catch (e) {
    if (e instanceof Failure && e.status === 404) return null;
    throw e;
  }
}

export interface Page<T> { rows: T[]; more: boolean; total: number }

export async function getPage<T>(path: string, query: Record<string, string>, signal?: AbortSignal): Promise<Page<T>> {
  const wanted = Object.entries(query).filter(([, value]) => value !== "");
  const response = await ask(`${path}?${new URLSearchParams(wanted)}`, signal);
  const rows = (await response.json()) as T[];
  return {
    rows, more: Number(response.headers.get("X-Next-Page") ?? 1) > 1,
    total: Number(response.headers.get("X-Total-Count") ?? rows.length),
  };
}

export interface Listener {
  change(c: Change): void;
  counters(c: Counters): void;
  connected(yes: boolean): void;
}

// listen follows the event stream. The browser connects again by itself when it breaks, but
// not after an answer that is an error, such as a proxy's while the edge starts.
export function listen(on: Listener): () => void {
  let stream: EventSource;
  let timer = 0;
  const open = () => {
    stream = new EventSource(new URL("sluice/events", base));
    stream.onopen = () => on.connected(true);
    stream.onerror = () => {
      on.connected(false);
      if (stream.readyState === EventSource.CLOSED) timer = window.setTimeout(open, 3000);
    };
    stream.addEventListener("change", (e) => on.change(JSON.parse(e.data) as Change));
    stream.addEventListener("counters", (e) => on.counters(JSON.parse(e.data) as Counters));
  };
  open();
  return () => {
    window.clearTimeout(timer);
    stream.close();
  };
}
