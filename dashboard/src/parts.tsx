import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { getPage, type Named, type Page, type Status } from "./api";
import { useLoaded } from "./live";
import { linkTo, useRoute } from "./route";

// Badge tells a state by word and sign, never by colour alone.
export function Badge({ kind, children }: { kind: "good" | "warn" | "bad" | "plain"; children: ComponentChildren }) {
  const sign = { good: "●", warn: "▲", bad: "■", plain: "" }[kind];
  return (
    <span class={`badge ${kind}`}>
      {sign && <span aria-hidden="true">{sign} </span>}
      {children}
    </span>
  );
}

export function StatusBadge({ status }: { status?: Status | undefined }) {
  const kind = status === "enabled" ? "good" : status === "warning" ? "warn" : status ? "bad" : "plain";
  return <Badge kind={kind}>{status ?? "unknown"}</Badge>;
}

// ObjectLink leads to a list that shows one object.
export function ObjectLink({ to, name, from }: { to: string; name: string; from?: string | undefined }) {
  const full = name.includes("@") || !from ? name : `${name}@${from}`;
  return <a href={linkTo(to, { search: full })}>{full}</a>;
}

export function Note({ kind, children }: { kind: "bad" | "plain"; children: ComponentChildren }) {
  return (
    <p class={`note ${kind}`} role={kind === "bad" ? "alert" : "status"}>
      {children}
    </p>
  );
}

export interface Column<T> { head: string; cell: (row: T) => ComponentChildren; sort?: string; wide?: boolean }

export interface ListProps<T> {
  title: string;
  path: string;
  columns: Column<T>[];
  statuses?: string[];
  /** Milliseconds after which rows are asked for again. */
  every?: number;
  detail?: (row: T) => ComponentChildren;
}

const perPage = 50;

// List shows a list of the API: searched, filtered, sorted and paged by the API itself,
// so that ten thousand objects cost what fifty do. Its state is in the address.
export function List<T extends Named>({ title, path, columns, statuses, every, detail }: ListProps<T>) {
  const { query, set } = useRoute();
  const search = query.get("search") ?? "";
  const status = query.get("status") ?? "";
  const sortBy = query.get("sort") ?? "";
  const direction = query.get("dir") ?? "";
  const page = query.get("page") ?? "1";
  const asked = { search, status, sortBy, direction, page, per_page: String(perPage) };
  const { data, error, loading } = useLoaded<Page<T>>(
    (signal) => getPage<T>(path, asked, signal), path + JSON.stringify(asked), every);
  const rows = data?.rows ?? [];
  const sort = (by: string) => set({ sort: by, dir: sortBy === by && direction !== "desc" ? "desc" : "asc", page: "" });
  return (
    <section aria-label={title}>
      <div class="tools">
        <input
          type="search" aria-label={`Search ${title}`} placeholder="Search name or rule" value={search}
          onInput={(e) => set({ search: e.currentTarget.value, page: "" }, true)}
        />
        {statuses && (
          <select aria-label="Status" value={status} onChange={(e) => set({ status: e.currentTarget.value, page: "" })}>
            <option value="">Every status</option>
            {statuses.map((s) => <option key={s} value={s}>{s}</option>)}
          </select>
        )}
      </div>
      {error && <Note kind="bad">The list could not be loaded: {error}</Note>}
      {!error && !loading && rows.length === 0 && (
        <Note kind="plain">{search || status ? "Nothing matches." : `There are no ${title.toLowerCase()}.`}</Note>
      )}
      {rows.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label={`${title}, table`}>
          <table>
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
                {detail && <th scope="col"><span class="hidden">Details</span></th>}
              </tr>
            </thead>
            <tbody>{rows.map((row) => <Row key={row.name} row={row} columns={columns} detail={detail} />)}</tbody>
          </table>
        </div>
      )}
      <Pager page={Number(page)} more={data?.more ?? false} go={(n) => set({ page: n > 1 ? String(n) : "" })} />
    </section>
  );
}

function Row<T extends Named>({ row, columns, detail }: { row: T; columns: Column<T>[]; detail: ListProps<T>["detail"] }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <tr>
        {columns.map((c) => <td key={c.head} class={c.wide ? "wide" : ""}>{c.cell(row)}</td>)}
        {detail && (
          <td>
            <button type="button" aria-expanded={open} aria-label={`Details of ${row.name}`} onClick={() => setOpen(!open)}>
              {open ? "Hide" : "Show"}
            </button>
          </td>
        )}
      </tr>
      {row.error?.length || open ? (
        <tr class="below">
          <td colSpan={columns.length + (detail ? 1 : 0)}>
            {row.error?.map((text) => <p class="error" key={text}>{text}</p>)}
            {open && detail?.(row)}
          </td>
        </tr>
      ) : null}
    </>
  );
}

function Pager({ page, more, go }: { page: number; more: boolean; go: (n: number) => void }) {
  if (page <= 1 && !more) return null;
  return (
    <nav class="pager" aria-label="Pages">
      <button type="button" disabled={page <= 1} onClick={() => go(page - 1)}>Previous</button>
      <span>Page {page}</span>
      <button type="button" disabled={!more} onClick={() => go(page + 1)}>Next</button>
    </nav>
  );
}

export function Json({ value }: { value: unknown }) {
  return <pre tabIndex={0}>{JSON.stringify(value, null, 2)}</pre>;
}

// Tabs choose between the protocols of a page.
export function Tabs({ page, tabs, now }: { page: string; tabs: string[]; now: string }) {
  return (
    <nav class="tabs" aria-label="Protocol">
      {tabs.map((tab) => (
        <a key={tab} href={linkTo(page, tab === tabs[0] ? {} : { kind: tab })} aria-current={tab === now ? "page" : undefined}>
          {tab.toUpperCase()}
        </a>
      ))}
    </nav>
  );
}
