import { get, type Problem } from "./api";
import { useLoaded } from "./live";
import { Badge, Note } from "./parts";
import { useRoute } from "./route";

export function ProblemsPage() {
  const { query, set } = useRoute();
  const search = query.get("search") ?? "";
  const severity = query.get("severity") ?? "";
  const asked = new URLSearchParams({ search, severity }).toString();
  const { data, error } = useLoaded<Problem[]>((signal) => get(`sluice/problems?${asked}`, signal), asked);
  return (
    <>
      <h1>Problems</h1>
      <div class="tools">
        <input type="search" aria-label="Search problems" placeholder="Search" value={search} onInput={(e) => set({ search: e.currentTarget.value }, true)} />
        <select aria-label="Severity" value={severity} onChange={(e) => set({ severity: e.currentTarget.value })}>
          <option value="">Errors and warnings</option>
          <option value="error">Errors</option>
          <option value="warning">Warnings</option>
        </select>
      </div>
      {error && <Note kind="bad">Problems could not be loaded: {error}</Note>}
      {data?.length === 0 && <Note kind="plain">{search || severity ? "Nothing matches." : "No problems. Everything that is configured works."}</Note>}
      <ul class="problems">
        {data?.map((p, i) => (
          <li class="panel" key={i}>
            <p>
              <Badge kind={p.severity === "warning" ? "warn" : "bad"}>{p.severity}</Badge> <code>{p.code}</code>{" "}
              {p.object && <strong>{p.object}</strong>}
            </p>
            <p>{p.text}</p>
            <p class="soft">{p.source}{p.field && <>, <code>{p.field}</code></>}</p>
            {p.suggestion && <p class="remedy"><span aria-hidden="true">→ </span>{p.suggestion}</p>}
          </li>
        ))}
      </ul>
    </>
  );
}
