import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Sample } from "./live";

const height = 180;

// span is how much time the chart shows, in seconds.
const span = 120;

// Chart draws requests and failures a second over the last minutes.
export function Chart({ samples }: { samples: Sample[] }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  useEffect(() => {
    const element = place.current!;
    const colour = (name: string) => getComputedStyle(element).getPropertyValue(name).trim();
    // The canvas asks for its colours on each draw, so that it follows the theme.
    const axis = { stroke: () => colour("--soft"), grid: { stroke: () => colour("--line") }, ticks: { stroke: () => colour("--line") } };
    const chart = new uPlot({
      width: element.clientWidth, height,
      // The legend is ours below: uPlot's would keep its colours when the theme changes.
      legend: { show: false }, cursor: { show: false },
      scales: {
        x: { range: (_u, _min, max) => [max - span, max] },
        y: { range: (_u, _min, max) => [0, Math.max(1, max * 1.1)] },
      },
      axes: [{ ...axis, incrs: [15, 30, 60], values: (_u, at) => at.map((s) => new Date(s * 1000).toLocaleTimeString()), space: 90 }, { ...axis, size: 55 }],
      series: [
        {},
        { stroke: () => colour("--good"), width: 2, points: { show: false } },
        { stroke: () => colour("--bad"), width: 2, dash: [6, 4], points: { show: false } },
      ],
    }, [[], [], []], element);
    plot.current = chart;
    const resize = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height }));
    resize.observe(element);
    return () => {
      resize.disconnect();
      chart.destroy();
    };
  }, []);
  useEffect(() => {
    plot.current?.setData([samples.map((s) => s.at), samples.map((s) => s.requests), samples.map((s) => s.failed)]);
  }, [samples]);
  const last = samples.at(-1);
  const text = last ? `Now ${last.requests.toFixed(1)} requests a second, ${last.failed.toFixed(1)} of them failing` : "No samples yet";
  return (
    <>
      <div class="chart" ref={place} role="img" aria-label={`Requests a second over the last minutes. ${text}`} />
      <p class="legend"><span>Requests a second</span><span class="failed">Answers of 500 and above a second</span></p>
    </>
  );
}
