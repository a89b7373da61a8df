import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
import { listen, type Change, type Counters } from "./api";

// Sample is the traffic of about one second, and how often each reason had been given by then.
export interface Sample { at: number; requests: number; failed: number; reasons: Record<string, number> }

export interface Live {
  connected: boolean;
  change: Change | null;
  counters: Counters | null;
  samples: Sample[];
}

const keep = 130;

export const LiveContext = createContext<Live>({ connected: false, change: null, counters: null, samples: [] });

export const useLive = () => useContext(LiveContext);

// useEvents follows the event stream and turns counters into rates.
export function useEvents(): Live {
  const [live, set] = useState<Live>({ connected: false, change: null, counters: null, samples: [] });
  useEffect(() => {
    let last: { at: number; counters: Counters } | null = null;
    return listen({
      connected: (connected) => {
        if (!connected) last = null;
        set((was) => (was.connected === connected ? was : { ...was, connected }));
      },
      change: (change) => set((was) => ({ ...was, connected: true, change })),
      counters: (counters) => {
        const at = Date.now() / 1000;
        const seconds = last ? at - last.at : 0;
        const before = last?.counters;
        last = { at, counters };
        set((was) => {
          if (!before || seconds < 0.1 || counters.requests < before.requests) return { ...was, counters };
          const sample = {
            at,
            requests: (counters.requests - before.requests) / seconds,
            failed: (counters.failed - before.failed) / seconds,
            reasons: counters.reasons,
          };
          return { ...was, counters, samples: [...was.samples.slice(1 - keep), sample] };
        });
      },
    });
  }, []);
  return live;
}

export interface Loaded<T> { data: T | null; error: string; loading: boolean }

// useLoaded loads something again whenever a key or the live configuration changes, and
// every few seconds where asked to, while somebody can see it. What was shown stays until
// the new is there.
export function useLoaded<T>(load: (signal: AbortSignal) => Promise<T>, key: string, every = 0): Loaded<T> {
  const generation = useLive().change?.generation ?? 0;
  const [state, set] = useState<Loaded<T>>({ data: null, error: "", loading: true });
  useEffect(() => {
    const stop = new AbortController();
    let timer = 0;
    const run = async () => {
      if (every && document.hidden) {
        timer = window.setTimeout(run, every);
        return;
      }
      try {
        const data = await load(stop.signal);
        set({ data, error: "", loading: false });
      } catch (e) {
        if (stop.signal.aborted) return;
        set((was) => ({ ...was, error: String(e instanceof Error ? e.message : e), loading: false }));
      }
      if (every && !stop.signal.aborted) timer = window.setTimeout(run, every);
    };
    void run();
    return () => {
      stop.abort();
      window.clearTimeout(timer);
    };
  }, [key, generation]);
  return state;
}
