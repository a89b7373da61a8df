import { useEffect, useState } from "preact/hooks";

// plain is a text without its percent signs, or as it is where they mean nothing.
function plain(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// A route is "#/page?query": it needs nothing of the server, under whatever prefix.
interface Route { page: string; query: URLSearchParams }

// The page of one object, by the page of its list.
const single: Record<string, string> = { routers: "router", services: "service", middlewares: "middleware" };

function read(): Route {
  const [page = "", query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s, 2);
  const [, kind, list, name] = /^(http|tcp|udp)\/(routers|services|middlewares)(?:\/(.+))?$/.exec(page) ?? [];
  if (!kind || !list) return { page: page || "overview", query: new URLSearchParams(query) };
  // An address of the reference's dashboard, from a bookmark or a panel.
  const params = new URLSearchParams(query);
  if (kind !== "http") params.set("kind", kind);
  if (!name) return { page: list, query: params };
  params.set("name", plain(name));
  return { page: single[list]!, query: params };
}

export function linkTo(page: string, query: Record<string, string> = {}): string {
  const q = new URLSearchParams(Object.entries(query).filter(([, v]) => v !== "")).toString();
  return `#/${page}${q && "?" + q}`;
}

export function useRoute() {
  const [route, setRoute] = useState(read);
  useEffect(() => {
    const follow = () => setRoute(read());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  // set changes parts of the query; typing replaces the entry of the history, choosing adds one.
  const set = (change: Record<string, string>, replace = false) => {
    const now = read();
    const link = linkTo(now.page, { ...Object.fromEntries(now.query), ...change });
    if (replace) {
      history.replaceState(null, "", link);
      dispatchEvent(new HashChangeEvent("hashchange"));
    } else {
      location.hash = link;
    }
  };
  return { ...route, set };
}

// linkToObject leads to the page of one router, service or middleware.
export function linkToObject(list: string, kind: string, name: string): string {
  return linkTo(single[list] ?? list, { kind: kind === "http" ? "" : kind, name });
}

// fullName adds the provider of whoever names an object where the name has none.
export function fullName(name: string, from?: string): string {
  return name.includes("@") || !from ? name : `${name}@${from}`;
}
