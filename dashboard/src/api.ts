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

export interface Router extends Named {
  entryPoints?: string[];
  middlewares?: string[];
  service: string;
  rule?: string;
  priority?: number;
  priorityStr?: string;
  tls?: { options?: string; certResolver?: string; passthrough?: boolean };
  using?: string[];
}

export interface Server { url?: string; address?: string; weight?: number }

export interface Service extends Named {
  loadBalancer?: { servers?: Server[]; strategy?: string; healthCheck?: unknown };
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
  name: string; commonName: string; sans: string[]; issuerOrg?: string; issuerCN?: string; notAfter: string; status: Status;
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

async function ask(path: string, signal?: AbortSignal): Promise<Response> {
  const response = await fetch(new URL(path, base), signal ? { signal } : {});
  if (response.ok) return response;
  const body = (await response.json().catch(() => null)) as { message?: string } | null;
  throw new Error(body?.message ?? `${response.status} ${response.statusText}`);
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await ask(path, signal)).json() as Promise<T>;
}

export interface Page<T> { rows: T[]; more: boolean }

export async function getPage<T>(path: string, query: Record<string, string>, signal?: AbortSignal): Promise<Page<T>> {
  const wanted = Object.entries(query).filter(([, value]) => value !== "");
  const response = await ask(`${path}?${new URLSearchParams(wanted)}`, signal);
  return { rows: (await response.json()) as T[], more: Number(response.headers.get("X-Next-Page") ?? 1) > 1 };
}

export interface Listener {
  change(c: Change): void;
  counters(c: Counters): void;
  connected(yes: boolean): void;
}

// listen follows the event stream; the browser connects again by itself when it breaks.
export function listen(on: Listener): () => void {
  const stream = new EventSource(new URL("sluice/events", base));
  stream.onopen = () => on.connected(true);
  stream.onerror = () => on.connected(false);
  stream.addEventListener("change", (e) => on.change(JSON.parse(e.data) as Change));
  stream.addEventListener("counters", (e) => on.counters(JSON.parse(e.data) as Counters));
  return () => stream.close();
}
