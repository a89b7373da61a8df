import { render, type FunctionComponent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { get, type Version } from "./api";
import { CertificatesPage } from "./certificates";
import { MiddlewarePage, RouterPage, ServicePage } from "./detail";
import { ExplainPage } from "./explain";
import { EntryPointsPage, MiddlewaresPage, RoutersPage, ServicesPage } from "./lists";
import { LiveContext, useEvents } from "./live";
import { OverviewPage } from "./overview";
import { Badge, Note } from "./parts";
import { ProblemsPage } from "./problems";
import { linkTo, useRoute } from "./route";
import "./style.css";

interface PageEntry { name: string; title: string; page: FunctionComponent; under?: string }

// Those that are under another are reached from there; the others are in the menu.
const pages: PageEntry[] = [
  { name: "overview", title: "Overview", page: OverviewPage },
  { name: "entrypoints", title: "Entry points", page: EntryPointsPage },
  { name: "routers", title: "Routers", page: RoutersPage },
  { name: "router", title: "Router", page: RouterPage, under: "routers" },
  { name: "services", title: "Services", page: ServicesPage },
  { name: "service", title: "Service", page: ServicePage, under: "services" },
  { name: "middlewares", title: "Middlewares", page: MiddlewaresPage },
  { name: "middleware", title: "Middleware", page: MiddlewarePage, under: "middlewares" },
  { name: "certificates", title: "Certificates", page: CertificatesPage },
  { name: "problems", title: "Problems", page: ProblemsPage },
  { name: "explain", title: "Explain", page: ExplainPage },
];

const unknown: PageEntry = { name: "", title: "Not found", page: () => <Note kind="plain">There is no such page.</Note> };

type Theme = "auto" | "light" | "dark";

function useTheme(): [Theme, (t: Theme) => void] {
  const [theme, set] = useState<Theme>(() => (localStorage.getItem("theme") as Theme | null) ?? "auto");
  useEffect(() => {
    document.documentElement.dataset["theme"] = theme;
    localStorage.setItem("theme", theme);
  }, [theme]);
  return [theme, set];
}

function App() {
  const live = useEvents();
  const { page, query } = useRoute();
  const [theme, setTheme] = useTheme();
  const [version, setVersion] = useState<Version | null | undefined>();
  useEffect(() => {
    get<Version>("version").then(setVersion, () => setVersion(null));
  }, [live.connected]);
  const entry = pages.find((p) => p.name === page) ?? unknown;
  const Page = entry.page;
  const name = version?.dashboardName || "Sluice";
  const object = entry.under ? (query.get("name") ?? "") : "";
  useEffect(() => { document.title = `${object ? `${object} · ` : ""}${entry.title} · ${name}`; }, [entry.title, object, name]);
  // Who follows a link by keyboard or screen reader goes on from the new page's content.
  const main = useRef<HTMLElement>(null), first = useRef(true);
  useEffect(() => {
    if (!first.current) {
      main.current?.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    first.current = false;
  }, [entry.name, object]);
  const problems = live.change?.problems;
  return (
    <LiveContext.Provider value={live}>
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); document.getElementById("main")?.focus(); }}>To the content</a>
      <header>
        <a class="brand" href={linkTo("overview")}>{name}</a>
        <nav aria-label="Pages">
          {pages.filter((p) => !p.under).map(({ name: to, title }) => (
            <a key={to} href={linkTo(to)} aria-current={to === page ? "page" : to === entry.under ? "true" : undefined}>
              {title}
              {to === "problems" && problems && problems.errors + problems.warnings > 0 && <span class={`count ${problems.errors > 0 ? "bad" : "warn"}`}>{problems.errors + problems.warnings}</span>}
            </a>
          ))}
        </nav>
        <div class="right">
          <span role="status">{live.connected ? <Badge kind="good">live</Badge> : <Badge kind="warn">connecting</Badge>}</span>
          <select aria-label="Theme" value={theme} onChange={(e) => setTheme(e.currentTarget.value as Theme)}>
            <option value="auto">Theme: system</option>
            <option value="light">Light</option>
            <option value="dark">Dark</option>
          </select>
        </div>
      </header>
      <main id="main" ref={main} tabIndex={-1}><Page key={`${page} ${object} ${query.get("kind") ?? ""}`} /></main>
      <footer>{version ? `Version ${version.Version}, running since ${new Date(version.startDate).toLocaleString()}` : version === null && "The API does not answer."}</footer>
    </LiveContext.Provider>
  );
}

render(<App />, document.getElementById("app")!);
