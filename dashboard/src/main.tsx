import { render, type FunctionComponent } from "preact";
import { useEffect, useState } from "preact/hooks";
import { get, type Version } from "./api";
import { ExplainPage } from "./explain";
import { EntryPointsPage, MiddlewaresPage, RoutersPage, ServicesPage } from "./lists";
import { LiveContext, useEvents } from "./live";
import { OverviewPage } from "./overview";
import { Badge, Note } from "./parts";
import { ProblemsPage } from "./problems";
import { linkTo, useRoute } from "./route";
import "./style.css";

const pages: [string, string, FunctionComponent][] = [
  ["overview", "Overview", OverviewPage],
  ["entrypoints", "Entry points", EntryPointsPage],
  ["routers", "Routers", RoutersPage],
  ["services", "Services", ServicesPage],
  ["middlewares", "Middlewares", MiddlewaresPage],
  ["problems", "Problems", ProblemsPage],
  ["explain", "Explain", ExplainPage],
];

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
  const { page } = useRoute();
  const [theme, setTheme] = useTheme();
  const [version, setVersion] = useState<Version | null>(null);
  useEffect(() => {
    get<Version>("version").then(setVersion, () => setVersion(null));
  }, [live.connected]);
  const [, title, Page] = pages.find(([name]) => name === page) ?? ["", "Not found", () => <Note kind="plain">There is no such page.</Note>];
  const name = version?.dashboardName || "Sluice";
  useEffect(() => { document.title = `${title} · ${name}`; }, [title, name]);
  const problems = live.change?.problems;
  return (
    <LiveContext.Provider value={live}>
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); document.getElementById("main")?.focus(); }}>To the content</a>
      <header>
        <a class="brand" href={linkTo("overview")}>{name}</a>
        <nav aria-label="Pages">
          {pages.map(([to, text]) => (
            <a key={to} href={linkTo(to)} aria-current={to === page ? "page" : undefined}>
              {text}
              {to === "problems" && problems && problems.errors + problems.warnings > 0 && <span class="count">{problems.errors + problems.warnings}</span>}
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
      <main id="main" tabIndex={-1}><Page key={page} /></main>
      <footer>{version ? `Version ${version.Version}, running since ${new Date(version.startDate).toLocaleString()}` : "The API does not answer."}</footer>
    </LiveContext.Provider>
  );
}

render(<App />, document.getElementById("app")!);
