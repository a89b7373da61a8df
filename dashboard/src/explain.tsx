import { useEffect, useState } from "preact/hooks";
import { get, type Candidate, type Explanation } from "./api";
import { Badge, Json, Note, ObjectLink } from "./parts";
import { useRoute } from "./route";

// ExplainPage asks which router a request would meet, and why the others do not match.
export function ExplainPage() {
  const { query, set } = useRoute();
  const asked = query.get("url") ?? "";
  const [url, setURL] = useState(asked);
  const [answer, setAnswer] = useState<Explanation | Explanation[] | null>(null);
  const [error, setError] = useState("");
  useEffect(() => {
    if (!asked) return;
    const stop = new AbortController();
    get<Explanation | Explanation[]>(`sluice/explain?${new URLSearchParams({ url: asked })}`, stop.signal)
      .then((a) => { setAnswer(a); setError(""); })
      .catch((e: unknown) => { if (!stop.signal.aborted) { setAnswer(null); setError(e instanceof Error ? e.message : String(e)); } });
    return () => stop.abort();
  }, [asked]);
  return (
    <>
      <h1>Explain a request</h1>
      <p>Which router answers an address, and what keeps the others from it.</p>
      <form class="tools" onSubmit={(e) => { e.preventDefault(); set({ url: url.trim() }); }}>
        <input type="text" aria-label="Address" placeholder="https://app.example/path" value={url} onInput={(e) => setURL(e.currentTarget.value)} />
        <button type="submit">Explain</button>
      </form>
      {error && <Note kind="bad">{error}</Note>}
      {answer && (Array.isArray(answer) ? answer : [answer]).map((a, i) => <Answer key={i} answer={a} />)}
    </>
  );
}

function Answer({ answer }: { answer: Explanation }) {
  if (!("candidates" in answer)) return <Json value={answer} />;
  return (
    <section class="panel">
      <h2>
        {answer.entryPoint} {answer.tls && <Badge kind="plain">TLS</Badge>}
      </h2>
      <p>
        {answer.router
          ? <><Badge kind={answer.reason ? "bad" : "good"}>{answer.reason ?? "served"}</Badge> by <ObjectLink to="routers" name={answer.router} /></>
          : <><Badge kind="bad">{answer.reason ?? "not served"}</Badge> no router takes <code>{answer.host}{answer.path}</code></>}
      </p>
      <ul class="plain">{(answer.candidates ?? []).map((c) => <Near key={c.router} candidate={c} />)}</ul>
    </section>
  );
}

function Near({ candidate: c }: { candidate: Candidate }) {
  return (
    <li class="near">
      {c.serves ? <Badge kind="good">serves</Badge> : c.matches ? <Badge kind="warn">matches</Badge> : <Badge kind="plain">no match</Badge>}{" "}
      <ObjectLink to="routers" name={c.router} /> <code>{c.rule}</code>
      {c.failed?.map((f) => <p class="soft" key={f.matcher}><code>{f.matcher}</code> does not hold: the request has {f.got ? <code>{f.got}</code> : "nothing there"}</p>)}
      {c.obstacle && <p class="soft">{c.obstacle}</p>}
      {c.errors?.map((e) => <p class="error" key={e}>{e}</p>)}
    </li>
  );
}
