import { get, type Problem } from "./api";
import { Choice, SearchBox } from "./list";
import { useLoaded } from "./live";
import { Note, ProblemItem, whole } from "./parts";
import { useRoute } from "./route";

// most bounds what is shown at once: a thousand wrong labels are read by searching.
const most = 200;

export function ProblemsPage() {
  const { query, set } = useRoute();
  const search = query.get("search") ?? "", severity = query.get("severity") ?? "", code = query.get("code") ?? "", provider = query.get("provider") ?? "";
  const asked = new URLSearchParams({ search, severity, code, provider }).toString();
  const all = useLoaded<Problem[]>((signal) => get("sluice/problems", signal), "problems");
  const { data, error } = useLoaded<Problem[]>((signal) => get(`sluice/problems?${asked}`, signal), asked);
  const kinds = (of: (p: Problem) => string | undefined) => [...new Set((all.data ?? []).map(of).filter((v): v is string => !!v))].sort();
  return (
    <>
      <h1>Problems</h1>
      <div class="tools">
        <SearchBox title="problems" placeholder="Search place, object or text" value={search} set={(v) => set({ search: v }, true)} />
        <Choice name="Severity" all="Errors and warnings" values={["error", "warning"]} value={severity} set={(v) => set({ severity: v })} />
        <Choice name="Kind" all="Every kind" values={kinds((p) => p.code)} value={code} set={(v) => set({ code: v })} />
        <Choice name="Provider" all="Every provider" values={kinds((p) => p.provider)} value={provider} set={(v) => set({ provider: v })} />
      </div>
      {error && <Note kind="bad">Problems could not be loaded: {error}</Note>}
      {data?.length === 0 && <Note kind="plain">{search || severity || code || provider ? "Nothing matches." : "No problems. Everything that is configured works."}</Note>}
      <ul class="problems">{data?.slice(0, most).map((p, i) => <ProblemItem key={i} problem={p} />)}</ul>
      {data && data.length > most && <Note kind="plain">{whole(most)} of {whole(data.length)} are shown; search for the others.</Note>}
    </>
  );
}
