/**
 * One property over time: what the server remembers, continued by the frames that the page gets anyhow. It asks for history
 * when something else is to be looked at and after a lost connection, never by the clock. The line is kept by `Trace`, drawn
 * by `Plot`; here is only what comes when and what is said about it.
 */
import { isRecord, type Frame } from "../net/frames";
import { retryDelayMs } from "../net/reconnect";
import { extremes, limitLines, limitWords, momentText, nearest, readHistory, scaleOf, stepped, Trace, WINDOWS, type Points } from "../twin/history";
import type { Rule } from "../twin/limits";
import type { Property, Thing, TwinStore } from "../twin/store";
import { element } from "./dom";
import type { Plot } from "./plot";

/** What the chart needs of the page. */
export interface ChartSurroundings {
  store: TwinStore;
  rule: (thing: Thing, property: Property) => Rule | undefined;
  /** How long a device of this Thing's kind may be silent before its line breaks. */
  silenceS: (thing: Thing) => number | undefined;
  /** GET of the API, with the page's token. */
  ask: (path: string, signal: AbortSignal) => Promise<Response>;
}

/** What is looked at. */
interface Subject {
  thingId: string;
  feature: string;
  property: string;
  /** Of a list, which item; from 0. */
  item: number;
}

/** How asking for history ended. */
type Asked = "loading" | "loaded" | "off" | "later" | "refused";

/** For kinds of devices of which nobody said how long they may be silent. */
const SILENCE_S = 300;
/** Without anything new the picture moves on this often at most, and where a pixel is longer, whenever it moves by one. */
const MOVE_MS_MIN = 1000;
const HINT = "Point at the line, or go along it with ← →";

export class Chart {
  readonly root = element("section", "chart", "", { "aria-label": "Chart" });
  /** The chart is closed; whether the focus was in it. */
  onClose: (hadFocus: boolean) => void = () => {};
  private readonly heading = element("h2");
  private readonly item = element("select", "", "", { "aria-label": "Item of the list" });
  private readonly windows = element("div", "windows", "", { role: "group", "aria-label": "Time range" });
  private readonly numbers = { now: pair("now"), min: pair("min"), max: pair("max") };
  private readonly canvas = element("div", "plot", "", { tabindex: "0", role: "slider", "aria-valuemin": "0", "aria-valuenow": "0" });
  private readonly message = element("p", "message");
  private readonly readout = element("p", "readout", HINT);
  private readonly limits = element("p", "limits");
  private readonly problem = element("p", "problem", "", { role: "status" });
  private subject: Subject | null = null;
  private windowMs: number = WINDOWS[0].ms;
  private trace = new Trace(this.windowMs, 1);
  private points: Points = { at: [], value: [] };
  private plot: Plot | null = null;
  private plotFailed = false;
  private asking: AbortController | null = null;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private asked: Asked = "loading";
  private attempt = 0;
  private connected = false;
  private heardMs = 0;
  /** How far the server's clock is ahead of the page's. */
  private aheadMs = 0;
  private isDirty = false;
  private drawnMs = 0;
  /** Where the keyboard has put the cursor. */
  private cursorMs: number | null = null;

  constructor(private readonly around: ChartSurroundings) {
    this.root.hidden = true;
    const close = element("button", "", "✕", { type: "button", "aria-label": "Close the chart" });
    close.addEventListener("click", () => this.close());
    const head = element("header");
    head.append(this.heading, this.item, close);
    for (const { label, ms } of WINDOWS) {
      const button = element("button", "", label, { type: "button", "data-ms": String(ms) });
      button.addEventListener("click", () => this.look(ms));
      this.windows.append(button);
    }
    const numbers = element("div", "numbers");
    numbers.append(...Object.values(this.numbers).map(({ root }) => root));
    const stage = element("div", "plot-stage");
    stage.append(this.canvas, this.message);
    this.root.append(head, this.windows, numbers, stage, this.readout, this.limits, this.problem);
    this.item.addEventListener("change", () => this.subject && this.begin({ ...this.subject, item: Number(this.item.value) }));
    this.canvas.addEventListener("keydown", (event) => this.walk(event));
    this.canvas.addEventListener("pointermove", () => (this.cursorMs = null));
    this.canvas.addEventListener("blur", () => {
      this.cursorMs = null;
      this.plot?.pointAt(null);
    });
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.close();
    });
  }

  /** Which property is looked at, as `feature/property`, and of which Thing. */
  get shown(): { thingId: string; key: string } | null {
    return this.subject ? { thingId: this.subject.thingId, key: `${this.subject.feature}/${this.subject.property}` } : null;
  }

  /** For tests: how many points are kept. */
  get size(): number {
    return this.trace.length;
  }

  open(thing: Thing, property: Property): void {
    this.root.hidden = false;
    this.begin({ thingId: thing.id, feature: property.feature, property: property.property, item: 0 });
    this.canvas.focus({ preventScroll: true });
    if (this.plot) return;
    void import("./plot").then(
      ({ Plot }) => {
        if (!this.subject || this.plot) return;
        this.plot = new Plot(this.canvas);
        this.plot.onCursor = (index) => this.read(index);
        this.draw();
      },
      () => (this.plotFailed = true),
    );
  }

  close(): void {
    if (!this.subject) return;
    const hadFocus = this.root.contains(document.activeElement);
    this.asking?.abort();
    clearTimeout(this.retry);
    this.plot?.dispose();
    this.plot = null;
    this.subject = null;
    this.trace = new Trace(this.windowMs, 1);
    this.points = { at: [], value: [] };
    this.root.hidden = true;
    this.onClose(hadFocus);
  }

  /** The connection is there, perhaps again: what was missed is asked for. */
  back(): void {
    this.connected = true;
    this.heardMs = 0;
    this.attempt = 0;
    if (this.subject) void this.load();
  }

  /** The connection is gone: the line breaks. */
  lost(nowMs: number): void {
    if (!this.connected) return;
    this.connected = false;
    clearTimeout(this.retry);
    this.trace.append(nowMs + this.aheadMs, null);
    this.isDirty = true;
  }

  /** Takes what a frame says of the property; after the store has taken it. */
  take(frame: Frame, nowMs: number): void {
    if (frame.kind !== "columns") return;
    if (frame.timeMs > 0) this.aheadMs = frame.timeMs - nowMs;
    const { thing, property } = this.found();
    if (!thing || !property || !this.subject) return;
    const heardBefore = this.heardMs;
    this.heardMs = thing.heardMs;
    const index = frame.slot.indexOf(property.slots[this.subject.item] ?? -1);
    if (index < 0) return;
    const [value, quality] = [frame.value[index] ?? NaN, frame.quality[index] ?? 0];
    const isGood = !Number.isNaN(value) && (quality & 3) !== 2 && (quality & 4) === 0;
    this.trace.append(nowMs + this.aheadMs, isGood ? value : null, heardBefore);
    this.isDirty = true;
  }

  /** Brings the picture up to date where there is something new, or time has moved it. */
  update(nowMs: number): void {
    if (!this.subject || document.hidden) return;
    this.say();
    const moveMs = Math.max(MOVE_MS_MIN, this.windowMs / this.columns());
    if (this.isDirty || nowMs - this.drawnMs >= moveMs || nowMs < this.drawnMs) this.draw(nowMs);
  }

  /** The page's colours have changed. */
  redraw(): void {
    this.plot?.redraw();
  }

  private look(windowMs: number): void {
    if (!this.subject) return;
    const before = this.trace.drawn(Date.now(), false);
    this.windowMs = windowMs;
    this.begin(this.subject);
    // What has arrived stays, for where there is no history.
    before.at.forEach((at, index) => this.trace.append(at, before.value[index] ?? null));
    this.draw();
  }

  private begin(subject: Subject): void {
    this.subject = subject;
    this.trace = new Trace(this.windowMs, this.columns());
    this.cursorMs = null;
    this.attempt = 0;
    const { thing, property } = this.found();
    this.heardMs = thing?.heardMs ?? 0;
    const items = property && property.slots.length > 1 ? property.slots.length : 0;
    this.item.hidden = items === 0;
    this.item.replaceChildren(...Array.from({ length: items }, (_, index) => element("option", "", `${index + 1} of ${items}`, { value: String(index) })));
    this.item.value = String(subject.item);
    for (const button of this.windows.children) button.setAttribute("aria-pressed", String((button as HTMLElement).dataset.ms === String(this.windowMs)));
    void this.load();
    this.say();
    this.draw();
  }

  private async load(): Promise<void> {
    const { subject } = this;
    if (!subject) return;
    this.asking?.abort();
    clearTimeout(this.retry);
    const asking = (this.asking = new AbortController());
    this.asked = "loading";
    const { thing, property } = this.found();
    const name = `${subject.feature}/${subject.property}${property && property.slots.length > 1 ? `/${subject.item}` : ""}`;
    const query = new URLSearchParams({
      property: name,
      from: String(Math.round(Date.now() + this.aheadMs - this.windowMs)),
      width: String(this.columns()),
      hold: `${(thing && this.around.silenceS(thing)) ?? SILENCE_S}s`,
    });
    let status = 0;
    let json: unknown = null;
    try {
      const answer = await this.around.ask(`/api/v1/things/${encodeURIComponent(subject.thingId)}/history?${query.toString()}`, asking.signal);
      status = answer.status;
      json = await answer.json();
    } catch {
      // No answer, or no whole one: `json` is null.
    }
    if (asking.signal.aborted) return;
    const past = status === 200 ? readHistory(json) : null;
    if (past) this.trace.replace(past);
    this.asked = past ? "loaded" : outcome(status, json);
    if (this.asked === "later" && this.connected) this.retry = setTimeout(() => void this.load(), retryDelayMs(this.attempt++, Math.random()));
    this.isDirty = true;
    this.update(Date.now());
  }

  private draw(nowMs = Date.now()): void {
    const { thing, property } = this.found();
    // uPlot finds round times only from whole milliseconds.
    const to = Math.round(nowMs + this.aheadMs);
    this.trace.trim(to);
    this.points = this.trace.drawn(to, this.connected && thing?.connection === "live");
    this.isDirty = false;
    this.drawnMs = nowMs;
    const rule = thing && property ? this.around.rule(thing, property) : undefined;
    const limits = limitLines(rule);
    const line = extremes(this.points);
    const smallest = rule?.decimals === undefined ? Math.max(1e-6, Math.abs(line?.max ?? 1) * 0.001) : 4 * 10 ** -rule.decimals;
    this.plot?.show({ points: this.points, from: to - this.windowMs, to, scale: scaleOf(line, limits, smallest), limits });
    if (this.cursorMs !== null) this.plot?.pointAt(this.cursorMs);
    const last = this.points.value.findLast((value) => value !== null) ?? null;
    setText(this.numbers.now.name, this.connected && this.trace.last !== null ? "now" : "last");
    setText(this.numbers.now.value, this.valueText(last));
    setText(this.numbers.min.value, this.valueText(line?.min ?? null));
    setText(this.numbers.max.value, this.valueText(line?.max ?? null));
    this.canvas.setAttribute("aria-valuemax", String(Math.max(0, this.points.at.length - 1)));
    this.say();
  }

  /** Everything that is words. */
  private say(): void {
    const { thing, property } = this.found();
    if (thing && property) {
      const rule = this.around.rule(thing, property);
      const name = rule?.title ?? property.property.replaceAll("_", " ");
      setText(this.heading, property.unit ? `${name} (${property.unit})` : name);
      this.canvas.setAttribute("aria-label", `${name} over time; the arrow keys go from value to value`);
      const words = (["warning", "critical"] as const).map((severity) => ({ severity, text: limitWords(rule, severity, property.unit) })).filter(({ text }) => text !== "");
      if (this.limits.textContent !== words.map(({ text }) => text).join("")) {
        this.limits.replaceChildren(...words.map(({ severity, text }) => element("span", severity, text)));
      }
    }
    const isEmpty = this.points.value.every((value) => value === null);
    const why: Record<Asked, string> = { loading: "loading…", loaded: "no history yet", off: "nothing has arrived yet", later: "", refused: "" };
    setText(this.message, this.plotFailed ? "The chart could not be loaded. Open the page again." : isEmpty ? why[this.asked] : "");
    const problems: Record<Asked, string> = {
      loading: "",
      loaded: "",
      off: "This installation keeps no history: the chart begins when it is opened.",
      later: "History could not be loaded; it is tried again.",
      refused: "History could not be loaded.",
    };
    setText(this.problem, this.connected ? problems[this.asked] : "No connection. What was missed is filled in when it is back.");
  }

  /** Says what is under the cursor. */
  private read(index: number | null): void {
    const at = index === null ? undefined : this.points.at[index];
    if (index === null || at === undefined) return setText(this.readout, HINT);
    const value = this.points.value[index] ?? null;
    const text = `${momentText(at, this.windowMs)}   ${value === null ? "no value" : `${this.valueText(value)} ${this.found().property?.unit ?? ""}`}`;
    setText(this.readout, text);
    this.canvas.setAttribute("aria-valuenow", String(index));
    this.canvas.setAttribute("aria-valuetext", text);
  }

  private walk(event: KeyboardEvent): void {
    const { points } = this;
    const from = nearest(points, this.cursorMs ?? Infinity);
    const far = (part: number): number => nearest(points, (points.at[from] ?? 0) + part * this.windowMs);
    const ends = { Home: nearest(points, -Infinity), End: nearest(points, Infinity) };
    const steps: Record<string, number> = { ArrowLeft: this.cursorMs === null ? from : stepped(points, from, -1), ArrowRight: stepped(points, from, 1), PageUp: far(-0.1), PageDown: far(0.1), ...ends };
    const index = steps[event.key];
    if (index === undefined) return;
    event.preventDefault();
    const at = points.at[index];
    if (at === undefined) return;
    this.cursorMs = at;
    this.plot?.pointAt(at);
    // Points may be nearer to each other than pixels are.
    this.read(index);
  }

  private valueText(value: number | null): string {
    const { thing, property } = this.found();
    const decimals = (thing && property && this.around.rule(thing, property)?.decimals) ?? 2;
    return value === null ? "–" : value.toFixed(decimals);
  }

  /** As it is now in the store, which is filled anew after each connection. */
  private found(): { thing: Thing | undefined; property: Property | undefined } {
    const thing = this.subject ? this.around.store.things.get(this.subject.thingId) : undefined;
    return { thing, property: this.subject ? thing?.properties.get(`${this.subject.feature}/${this.subject.property}`) : undefined };
  }

  private columns(): number {
    return Math.max(100, this.canvas.clientWidth);
  }
}

/** What became of a question that was not answered with points. */
function outcome(status: number, problem: unknown): Asked {
  const code = isRecord(problem) ? problem.code : "";
  if (status === 404) return code === "history-off" ? "off" : "loaded";
  return status === 0 || status === 200 || status === 429 || status >= 500 ? "later" : "refused";
}

function pair(name: string): { root: HTMLElement; name: HTMLElement; value: HTMLElement } {
  const made = { root: element("div"), name: element("span", "meta", name), value: element("span", "number", "–") };
  made.root.append(made.name, made.value);
  return made;
}

function setText(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}
