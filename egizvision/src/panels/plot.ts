/**
 * The canvas of a chart: uPlot, which is loaded with this module and not before somebody opens a chart. What is drawn is given;
 * colours are the page's, read when it draws.
 */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { dotted, timeMark, valueMark, type LimitLine, type Points } from "../twin/history";

/** What a picture shows. */
export interface Picture {
  points: Points;
  from: number;
  to: number;
  scale: { min: number; max: number };
  limits: LimitLine[];
}

const FONT = "12px system-ui, sans-serif";
/** Dashes tell the limits apart for whoever does not see colours. */
const DASHES: Record<LimitLine["severity"], number[]> = { warning: [7, 4], critical: [2, 3] };
const NOTHING: Picture = { points: { at: [], value: [] }, from: 0, to: 1, scale: { min: 0, max: 1 }, limits: [] };

export class Plot {
  /** The point under the cursor, or `null`. */
  onCursor: (index: number | null) => void = () => {};
  private readonly chart: uPlot;
  private readonly resized: ResizeObserver;
  private picture: Picture = NOTHING;

  constructor(private readonly host: HTMLElement) {
    const colour = (name: string) => (): string => getComputedStyle(host).getPropertyValue(name).trim();
    const axis = { stroke: colour("--quiet"), font: FONT, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    this.chart = new uPlot(
      {
        ...this.size(),
        ms: 1,
        legend: { show: false },
        padding: [10, 12, 0, 0],
        cursor: { drag: { x: false, y: false }, y: false, points: { size: 8 } },
        scales: {
          x: { time: true, range: () => [this.picture.from, this.picture.to] },
          y: { range: () => [this.picture.scale.min, this.picture.scale.max] },
        },
        axes: [
          { ...axis, size: 24, gap: 6, space: 64, values: (_, marks) => marks.map((mark) => timeMark(mark)) },
          {
            ...axis,
            gap: 6,
            space: 34,
            size: (_, marks) => 14 + 7 * Math.max(2, ...(marks ?? []).map((mark) => mark.length)),
            values: (_, marks, __, ___, step) => marks.map((mark) => valueMark(mark, step)),
          },
        ],
        series: [{}, { stroke: colour("--text"), width: 1.5, points: { show: false, size: 5, fill: colour("--text"), filter: () => dotted(this.picture.points.value) } }],
        hooks: {
          drawAxes: [(chart) => this.drawLimits(chart, { warning: colour("--warning")(), critical: colour("--critical")() })],
          setCursor: [(chart) => this.onCursor(chart.cursor.idx ?? null)],
        },
      },
      [[], []],
      host,
    );
    this.resized = new ResizeObserver(() => this.chart.setSize(this.size()));
    this.resized.observe(host);
  }

  show(picture: Picture): void {
    this.picture = picture;
    this.chart.setData([picture.points.at, picture.points.value]);
  }

  /** Draws the same again, as when colours change. */
  redraw(): void {
    this.chart.redraw(false, true);
  }

  /** Puts the cursor on a moment, or takes it away. */
  pointAt(atMs: number | null): void {
    const left = atMs === null ? -10 : this.chart.valToPos(atMs, "x");
    this.chart.setCursor({ left, top: atMs === null ? -10 : 1 });
  }

  dispose(): void {
    this.resized.disconnect();
    this.chart.destroy();
  }

  private size(): { width: number; height: number } {
    return { width: Math.max(80, this.host.clientWidth), height: Math.max(80, this.host.clientHeight) };
  }

  private drawLimits(chart: uPlot, colours: Record<LimitLine["severity"], string>): void {
    const { ctx, bbox } = chart;
    const { scale, limits } = this.picture;
    ctx.save();
    ctx.lineWidth = 1.5 * uPlot.pxRatio;
    for (const { value, severity } of limits) {
      if (value < scale.min || value > scale.max) continue;
      const y = Math.round(chart.valToPos(value, "y", true));
      ctx.strokeStyle = colours[severity];
      ctx.setLineDash(DASHES[severity].map((dash) => dash * uPlot.pxRatio));
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
    }
    ctx.restore();
  }
}
