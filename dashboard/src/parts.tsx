import type { ComponentChildren } from "preact";
import { Fragment } from "preact";
import { get, type Problem, type Status } from "./api";
import { useLoaded } from "./live";
import { fullName, linkTo, linkToObject } from "./route";

export type Kind = "good" | "warn" | "bad" | "plain";

// Badge tells a state by word and sign, never by colour alone.
export function Badge({ kind, children }: { kind: Kind; children: ComponentChildren }) {
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

// ObjectLink leads to the page of one object.
export function ObjectLink({ to, name, kind = "http", from }: { to: string; name: string; kind?: string; from?: string | undefined }) {
  const full = fullName(name, from);
  return <a href={linkToObject(to, kind, full)}>{full}</a>;
}

// Links are many objects: all of a few, the first of many.
export function Links({ to, kind, names, from }: { to: string; kind: string; names?: string[] | undefined; from?: string | undefined }) {
  const shown = (names ?? []).slice(0, 8);
  return (
    <ul class="plain">
      {shown.map((name) => <li key={name}><ObjectLink to={to} kind={kind} name={name} from={from} /></li>)}
      {names && names.length > shown.length && <li class="soft">and {names.length - shown.length} more</li>}
    </ul>
  );
}

export function Note({ kind, children }: { kind: "bad" | "plain"; children: ComponentChildren }) {
  return (
    <p class={`note ${kind}`} role={kind === "bad" ? "alert" : "status"}>
      {children}
    </p>
  );
}

// Facts are names and values; those without a value are left out.
export function Facts({ facts }: { facts: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {facts.filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== false).map(([name, value]) => (
        <Fragment key={name}><dt>{name}</dt><dd>{value}</dd></Fragment>
      ))}
    </dl>
  );
}

export function Json({ value }: { value: unknown }) {
  return <pre tabIndex={0}>{JSON.stringify(value, null, 2)}</pre>;
}

// Source shows an object as the API tells it.
export function Source({ value }: { value: unknown }) {
  return <details class="panel"><summary>As the API has it</summary><Json value={value} /></details>;
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

// The object of a Problem is "router NAME", "tcp service NAME" and the like.
function problemLink(p: Problem): string {
  const parts = /^(?:(tcp|udp) )?(router|service|middleware) (\S+@\S+)$/i.exec(p.object ?? "");
  return parts ? linkToObject(parts[2]!.toLowerCase() + "s", (parts[1] ?? "http").toLowerCase(), parts[3]!) : "";
}

// ProblemObject names what a Problem costs, or where it was found if it names nothing.
export function ProblemObject({ problem: p }: { problem: Problem }) {
  const link = problemLink(p), text = p.object ?? p.source;
  return <strong>{link ? <a href={link}>{text}</a> : text}</strong>;
}

export function ProblemItem({ problem: p }: { problem: Problem }) {
  return (
    <li class={`panel problem ${p.severity === "warning" ? "warn" : "bad"}`}>
      <p>
        <Badge kind={p.severity === "warning" ? "warn" : "bad"}>{p.severity}</Badge> <code>{p.code}</code>{" "}
        <ProblemObject problem={p} />
      </p>
      <p>{p.text}</p>
      <p class="soft">{p.source}{p.field && <>, <code>{p.field}</code></>}</p>
      {p.suggestion && <p class="remedy"><span aria-hidden="true">→ </span>{p.suggestion}</p>}
    </li>
  );
}

// ProblemsOf lists the Problems that name an object.
export function ProblemsOf({ object, said }: { object: string; said?: string[] | undefined }) {
  const { data } = useLoaded<Problem[]>((signal) => get(`sluice/problems?${new URLSearchParams({ search: object })}`, signal), `problems of ${object}`);
  const mine = (data ?? []).filter((p) => p.object === object);
  const more = (said ?? []).filter((text) => !mine.some((p) => text.includes(p.text)));
  if (mine.length === 0 && more.length === 0) return null;
  return (
    <>
      {more.map((text) => <Note kind="bad" key={text}>{text}</Note>)}
      <ul class="problems">{mine.map((p, i) => <ProblemItem key={i} problem={p} />)}</ul>
    </>
  );
}

// priority is a number as people read it: the highest ones belong to the edge itself.
export function priority(of: { priority?: number; priorityStr?: string }): string {
  return (of.priority ?? 0) > 1e15 ? "highest" : (of.priorityStr ?? String(of.priority ?? ""));
}

export const whole = (n: number) => n.toLocaleString();

export function bytes(n: number): string {
  let unit = 0;
  for (; n >= 1024 && unit < 5; unit++) n /= 1024;
  return `${n.toFixed(unit && n < 10 ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit]}`;
}

// day is a date without its time, in the reader's words.
export const day = (at: string | Date) => new Date(at).toLocaleDateString(undefined, { year: "numeric", month: "short", day: "numeric" });

// away tells how far from now a moment is: "in 12 days", "3 hours ago".
export function away(at: string | Date): string {
  const seconds = (new Date(at).getTime() - Date.now()) / 1000;
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]] as const) {
    if (Math.abs(seconds) >= size) return words.format(Math.trunc(seconds / size), unit);
  }
  return words.format(Math.trunc(seconds), "second");
}
