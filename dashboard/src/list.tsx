import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { getPage, type Named, type Page } from "./api";
import { useLoaded } from "./live";
import { Note, whole } from "./parts";
import { useRoute } from "./route";

export interface Column<T> { head: string; cell: (row: T) => ComponentChildren; sort?: string; wide?: boolean }

export interface ListProps<T> {
  title: string;
  path: string;
  columns: Column<T>[];
  statuses?: string[];
  providers?: string[];
  placeholder?: string;
  /** What the list is sorted by unless asked otherwise. */
  sorted?: string;
  /** Milliseconds after which rows are asked for again. */
  every?: number;
}

const sizes = ["25", "50", "100", "250"];

// List shows a list of the API: searched, filtered, sorted and paged by the API itself,
// so that ten thousand objects cost what fifty do. Its state is in the address.
export function List<T extends Named>({ title, path, columns, statuses, providers, placeholder, sorted, every }: ListProps<T>) {
  const { query, set } = useRoute();
  const of = (key: string, otherwise = "") => query.get(key) ?? otherwise;
  const search = of("search"), status = of("status"), provider = of("provider");
  const sortBy = of("sort", sorted), direction = of("dir"), page = of("page", "1"), per = of("per", "50");
  const asked = { search, status, provider, sortBy, direction, page, per_page: per };
  const { data, error, loading } = useLoaded<Page<T>>(
    (signal) => getPage<T>(path, asked, signal), path + JSON.stringify(asked), every);
  const rows = data?.rows ?? [];
  const sort = (by: string) => set({ sort: by, dir: sortBy === by && direction !== "desc" ? "desc" : "asc", page: "" });
  const filtered = search || status || provider;
  // A page that is no more, as the list became shorter: the first one.
  useEffect(() => {
    if (error && page !== "1") set({ page: "" }, true);
  }, [error]);
  return (
    <section aria-label={title}>
      <div class="tools">
        <SearchBox title={title} placeholder={placeholder ?? "Search name"} value={search} set={(value) => set({ search: value, page: "" }, true)} />
        {statuses && <Choice name="Status" all="Every status" values={statuses} value={status} set={(v) => set({ status: v, page: "" })} />}
        {providers && providers.length > 1 && (
          <Choice name="Provider" all="Every provider" values={providers} value={provider} set={(v) => set({ provider: v, page: "" })} />
        )}
      </div>
      {error && <Note kind="bad">The list could not be loaded: {error}</Note>}
      {!error && !loading && rows.length === 0 && (
        <Note kind="plain">{filtered ? "Nothing matches." : `There are no ${title.toLowerCase()}.`}</Note>
      )}
      {rows.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label={`${title}, table`}>
          <table class="cards-on-phones">
            <thead>
              <tr>
                {columns.map((c) => (
                  <th
                    key={c.head} scope="col"
                    {...(c.sort && sortBy === c.sort ? { "aria-sort": direction === "desc" ? "descending" as const : "ascending" as const } : {})}
                  >
                    {c.sort ? <button type="button" class="sort" onClick={() => sort(c.sort!)}>{c.head}</button> : c.head}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <tr key={row.name}>{columns.map((c) => <td key={c.head} data-head={c.head} class={c.wide ? "wide" : ""}>{c.cell(row)}</td>)}</tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {data && (
        <Pager
          page={Number(page)} per={Number(per)} total={data.total} rows={rows.length}
          go={(n) => set({ page: n > 1 ? String(n) : "" })} size={(n) => set({ per: n === "50" ? "" : n, page: "" })}
        />
      )}
    </section>
  );
}

// SearchBox is reached by "/" from anywhere on its page.
export function SearchBox({ title, placeholder, value, set }: { title: string; placeholder: string; value: string; set: (value: string) => void }) {
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const reach = (e: KeyboardEvent) => {
      if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test((e.target as Element).tagName)) return;
      e.preventDefault();
      box.current?.focus();
    };
    addEventListener("keydown", reach);
    return () => removeEventListener("keydown", reach);
  }, []);
  return (
    <input
      ref={box} type="search" aria-label={`Search ${title}`} aria-keyshortcuts="/" placeholder={`${placeholder}  ( / )`} value={value}
      onInput={(e) => set(e.currentTarget.value)}
    />
  );
}

export function Choice({ name, all, values, value, set }: { name: string; all: string; values: string[]; value: string; set: (value: string) => void }) {
  return (
    <select aria-label={name} value={value} onChange={(e) => set(e.currentTarget.value)}>
      <option value="">{all}</option>
      {values.map((v) => <option key={v} value={v}>{v}</option>)}
    </select>
  );
}

interface PagerProps { page: number; per: number; total: number; rows: number; go: (n: number) => void; size: (n: string) => void }

function Pager({ page, per, total, rows, go, size }: PagerProps) {
  const last = Math.max(1, Math.ceil(total / per));
  const from = (page - 1) * per;
  return (
    <nav class="pager" aria-label="Pages of the list">
      <span role="status">{rows ? `${whole(from + 1)}–${whole(from + rows)} of ${whole(total)}` : ""}</span>
      {last > 1 && (
        <>
          <button type="button" disabled={page <= 1} onClick={() => go(1)}>First</button>
          <button type="button" disabled={page <= 1} onClick={() => go(page - 1)}>Previous</button>
          <span>Page {whole(page)} of {whole(last)}</span>
          <button type="button" disabled={page >= last} onClick={() => go(page + 1)}>Next</button>
          <button type="button" disabled={page >= last} onClick={() => go(last)}>Last</button>
        </>
      )}
      {total > 25 && (
        <select aria-label="Rows on a page" value={String(per)} onChange={(e) => size(e.currentTarget.value)}>
          {sizes.map((n) => <option key={n} value={n}>{n} on a page</option>)}
        </select>
      )}
    </nav>
  );
}
