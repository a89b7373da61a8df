import { useEffect, useState } from "preact/hooks";
import { get, type Candidate, type EntryPoint, type Explanation } from "./api";
import { useLoaded } from "./live";
import { Badge, Json, Note, ObjectLink } from "./parts";
import { meaning } from "./reasons";
import { useRoute } from "./route";

const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

// nearest is how many routers that do not serve are shown before the rest is folded away.
const nearest = 3;

interface Question { url: string; method: string; header: string; entryPoint: string; client: string }

const parts = ["url", "method", "header", "entryPoint", "client"] as const;

function address(q: Question): string {
  const asked = new URLSearchParams();
  for (const part of parts) if (part !== "header" && q[part]) asked.set(part, q[part]);
  for (const line of q.header.split("\n")) if (line.trim()) asked.append("header", line.trim());
  return `sluice/explain?${asked}`;
}

// ExplainPage asks which router a request would meet, and why the others do not match. The
// question is in the address, so that it can be passed on.
export function ExplainPage() {
  const { query, set } = useRoute();
  const asked = Object.fromEntries(parts.map((p) => [p, query.get(p) ?? ""])) as unknown as Question;
  const key = asked.url && address(asked);
  const [typed, setTyped] = useState(asked);
  const [answer, setAnswer] = useState<Explanation[] | null>(null);
  const [error, setError] = useState("");
  const points = useLoaded<EntryPoint[]>((signal) => get("entrypoints?per_page=1000", signal), "entrypoints").data ?? [];
  useEffect(() => setTyped(asked), [key]);
  useEffect(() => {
    if (!key) return;
    const stop = new AbortController();
    get<Explanation | Explanation[]>(key, stop.signal)
      .then((a) => { setAnswer(Array.isArray(a) ? a : [a]); setError(""); })
      .catch((e: unknown) => { if (!stop.signal.aborted) { setAnswer(null); setError(e instanceof Error ? e.message : String(e)); } });
    return () => stop.abort();
  }, [key]);
  const type = (part: keyof Question) => (e: { currentTarget: { value: string } }) => setTyped({ ...typed, [part]: e.currentTarget.value });
  return (
    <>
      <h1>Explain a request</h1>
      <p>Which router takes an address, and what keeps the others from it.</p>
      <form class="explain" onSubmit={(e) => { e.preventDefault(); set({ ...typed, url: typed.url.trim() }); }}>
        <div class="tools">
          <select aria-label="Method" value={typed.method || "GET"} onChange={(e) => setTyped({ ...typed, method: e.currentTarget.value === "GET" ? "" : e.currentTarget.value })}>
            {methods.map((m) => <option key={m} value={m}>{m}</option>)}
          </select>
          <input type="text" inputMode="url" autocapitalize="off" spellcheck={false} aria-label="Address" placeholder="https://app.example/path" value={typed.url} onInput={type("url")} />
          <button type="submit" class="main">Explain</button>
        </div>
        <details open={Boolean(asked.header || asked.entryPoint || asked.client)}>
          <summary>Header fields, entry point, client</summary>
          <div class="fields">
            <label>Header fields, one a line<textarea rows={3} spellcheck={false} placeholder="X-Tenant: blue" value={typed.header} onInput={type("header")} /></label>
            <label>Entry point
              <select value={typed.entryPoint} onChange={type("entryPoint")}>
                <option value="">every one</option>
                {points.map((ep) => <option key={ep.name} value={ep.name}>{ep.name} ({ep.address})</option>)}
              </select>
            </label>
            <label>Client's address<input type="text" placeholder="192.0.2.7" value={typed.client} onInput={type("client")} /></label>
          </div>
        </details>
      </form>
      {error && <Note kind="bad">{error}</Note>}
      <div aria-live="polite">{answer && rank(answer, points, asked.url).map((a, i) => <Answer key={a.entryPoint} answer={a} first={i === 0} />)}</div>
    </>
  );
}

// rank puts the entry point first that a client would most likely meet: one that serves the
// request, then by its port, then the one whose routers come nearest.
function rank(answers: Explanation[], points: EntryPoint[], url: string): Explanation[] {
  const secure = /^https:/.test(url);
  const port = /^\w+:\/\/[^/]*:(\d+)/.exec(url)?.[1] ?? (secure ? "443" : "80");
  const score = (a: Explanation) => {
    const at = points.find((ep) => ep.name === a.entryPoint);
    const on = (at?.address ?? "").replace(/\/\w+$/, "").endsWith(`:${port}`);
    const mounted = (a.candidates ?? []).filter((c) => c.obstacle !== "wrong entry point").length;
    return (a.router ? 1e6 : 0) + (on ? 1e5 : 0) + mounted;
  };
  return [...answers].sort((a, b) => score(b) - score(a));
}

function Answer({ answer, first }: { answer: Explanation; first: boolean }) {
  if (!("candidates" in answer)) return <Json value={answer} />;
  const all = answer.candidates ?? [];
  // A rule that cannot be read is near if it speaks of the host.
  const near = all.filter((c) => c.serves || c.matches || (c.errors?.length && !c.failed?.length && c.rule.toLowerCase().includes(answer.host)));
  const shown = near.length > 0 ? near : all.slice(0, nearest);
  const rest = all.filter((c) => !shown.includes(c));
  const body = (
    <>
      <Verdict answer={answer} />
      {shown.length > 0 && <ul class="plain">{shown.map((c) => <Near key={c.router} candidate={c} />)}</ul>}
      {rest.length > 0 && <details><summary>{rest.length} more that do not match</summary><ul class="plain">{rest.map((c) => <Near key={c.router} candidate={c} />)}</ul></details>}
    </>
  );
  const head = <>{answer.entryPoint} {answer.tls && <Badge kind="plain">TLS</Badge>}</>;
  if (first) return <section class="panel" aria-label={`Entry point ${answer.entryPoint}`}><h2>At the entry point {head}</h2>{body}</section>;
  return (
    <details class="panel" open={Boolean(answer.router)}>
      <summary>At the entry point {head} {answer.router ? <Badge kind="good">served</Badge> : <Badge kind="plain">{answer.reason ?? "not served"}</Badge>}</summary>
      {body}
    </details>
  );
}

function Verdict({ answer: a }: { answer: Explanation }) {
  const why = a.reason ? meaning(a.reason) : null;
  return (
    <p class="verdict">
      {a.router && !a.reason && <><Badge kind="good">served</Badge> by <ObjectLink to="routers" name={a.router} />{a.service && <>, by the service <ObjectLink to="services" name={a.service} /></>}</>}
      {a.router && a.reason && <><Badge kind="bad">{why?.status} {a.reason}</Badge> by <ObjectLink to="routers" name={a.router} />. {why?.text}</>}
      {!a.router && <><Badge kind="bad">{why?.status} {a.reason ?? "not served"}</Badge> No router takes <code>{a.host}{a.path}</code> here{why?.text && a.reason !== "no_router" ? `: ${why.text}` : "."}</>}
    </p>
  );
}

function Near({ candidate: c }: { candidate: Candidate }) {
  return (
    <li class="near">
      {c.serves ? <Badge kind="good">serves</Badge> : c.matches ? <Badge kind="warn">matches</Badge> : <Badge kind="plain">no match</Badge>}{" "}
      <ObjectLink to="routers" name={c.router} /> <code>{c.rule}</code>
      {c.failed?.map((f) => <p class="soft" key={f.matcher}><code>{f.matcher}</code> does not hold: the request has {f.got ? <code>{f.got}</code> : "nothing there"}</p>)}
      {c.obstacle && <p class="soft">{c.obstacle === "wrong entry point" ? `it is on ${(c.entryPoints ?? []).join(", ") || "no entry point"}` : c.obstacle}</p>}
      {c.errors?.map((e) => <p class="error" key={e}>{e}</p>)}
    </li>
  );
}
