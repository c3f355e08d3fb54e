/** Everything that is known of one machine now: values with units, limits, quality and age, and how they came to be. */
import { Severity, severityOfProperty, type MachineState, type Rules } from "../twin/limits";
import type { Property, Thing, TwinStore } from "../twin/store";
import { element } from "./dom";

const QUALITY = ["", "uncertain", "bad"];

interface Row {
  property: Property;
  value: HTMLElement;
  note: HTMLElement;
  line: SVGPolylineElement;
  row: HTMLElement;
  /** What opens its chart, where it is a number. */
  opener: HTMLButtonElement | null;
}

export class Inspector {
  onClose: () => void = () => {};
  /** A property is to be charted. */
  onChart: (thing: Thing, property: Property) => void = () => {};
  private rows: Row[] = [];
  private thing: Thing | null = null;
  private shownFor = "";
  private charted = "";
  private readonly state = element("p", "state-line");
  private readonly body = element("div", "inspector-body");

  /** The chart has its place below everything else. */
  constructor(private readonly host: HTMLElement, chart: HTMLElement, private readonly store: TwinStore, private readonly rules: () => Rules) {
    host.append(this.body, chart);
  }

  /** Marks the property whose chart is open. */
  mark(key: string): void {
    this.charted = key;
    for (const { row, opener } of this.rows) {
      opener?.setAttribute("aria-expanded", String(row.dataset.property === key));
      if (row.dataset.property === key) row.scrollIntoView({ block: "nearest" });
    }
  }

  /** No chart is open any more; a focus that was in it goes back to where it was opened. */
  unmark(hadFocus: boolean): void {
    const before = this.rows.find(({ row }) => row.dataset.property === this.charted);
    this.charted = "";
    before?.opener?.setAttribute("aria-expanded", "false");
    if (hadFocus) before?.opener?.focus({ preventScroll: true });
  }

  show(thing: Thing | null, name: string): void {
    this.thing = thing;
    this.host.hidden = thing === null;
    const structure = thing ? `${thing.id} ${thing.properties.size} ${thing.definition}` : "";
    if (structure === this.shownFor || !thing) {
      this.shownFor = structure;
      return;
    }
    this.shownFor = structure;
    this.rows = [];
    const close = element("button", "close", "✕", { type: "button", "aria-label": "Close" });
    close.addEventListener("click", () => this.onClose());
    const title = element("h1", "", name);
    const id = element("p", "meta", [thing.id, String(thing.attributes.type ?? ""), String(thing.attributes.manufacturer ?? "")].filter((part) => part !== "").join(" · "));
    const link = element("a", "meta", "as the API shows it", { href: `/api/v1/things/${encodeURIComponent(thing.id)}?metadata=true`, target: "_blank", rel: "noopener" });
    this.body.replaceChildren(close, title, id, this.state);
    let feature = "";
    for (const property of [...thing.properties.values()].sort((a, b) => a.feature.localeCompare(b.feature))) {
      if (property.feature !== feature) {
        feature = property.feature;
        this.body.append(element("h2", "", feature.replaceAll("_", " ")));
      }
      this.body.append(this.row(thing, property));
    }
    this.body.append(link);
  }

  update(state: MachineState, nowMs: number): void {
    const { thing } = this;
    if (!thing) return;
    this.state.textContent = state.words;
    this.state.dataset.severity = String(state.anomaly ? 2 : state.severity);
    for (const { property: shownFirst, value, note, line, row } of this.rows) {
      // After a reconnection a property may have other slots.
      const property = thing.properties.get(row.dataset.property ?? "") ?? shownFirst;
      const rule = this.rules().get(thing.definition)?.get(`${property.feature}/${property.property}`);
      const shown = this.store.shown(property, rule?.decimals ?? 2);
      if (value.textContent !== shown) value.textContent = shown;
      const severity = severityOfProperty(this.store, thing, property, this.rules());
      row.dataset.severity = String(severity);
      const age = Math.max(0, Math.round((nowMs - this.store.changedAtMs(property)) / 1000));
      const quality = this.store.qualityOf(property);
      const parts = [
        severity === Severity.Normal ? "" : severity === Severity.Critical ? "beyond the critical limit" : "beyond the warning limit",
        QUALITY[quality & 3] ?? "",
        quality & 4 ? "device silent" : "",
        age > 5 ? `changed ${age < 120 ? `${age} s` : `${Math.round(age / 60)} min`} ago` : "",
      ];
      const text = parts.filter((part) => part !== "").join(" · ");
      if (note.textContent !== text) note.textContent = text;
      line.setAttribute("points", sparkline(this.store.history(property)));
    }
  }

  private row(thing: Thing, property: Property): HTMLElement {
    const rule = this.rules().get(thing.definition)?.get(`${property.feature}/${property.property}`);
    const row = element("div", "property", "", { "data-property": `${property.feature}/${property.property}` });
    const name = element("span", "name", rule?.title ?? property.property.replaceAll("_", " "));
    const value = element("span", "value");
    const unit = element("span", "unit", property.unit);
    const note = element("span", "note");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 100 24");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    svg.append(line);
    let opener: HTMLButtonElement | null = null;
    if (property.type === "number") {
      opener = element("button", "open-chart", "", { type: "button", title: "Chart", "aria-expanded": String(row.dataset.property === this.charted) });
      opener.append(name, svg);
      opener.addEventListener("click", () => this.onChart(thing, property));
      row.append(opener, value, unit, note);
    } else {
      row.append(name, value, unit, svg, note);
    }
    this.rows.push({ property, value, note, line, row, opener });
    return row;
  }
}

/** The points of a line through recent values, in a box of 100 by 24. */
export function sparkline(history: { at: number[]; value: number[] }): string {
  const { at, value } = history;
  if (value.length < 2) return "";
  const [low, high] = [Math.min(...value), Math.max(...value)];
  const [first, last] = [at[0] ?? 0, at[at.length - 1] ?? 1];
  const points = value.map((number, index) => {
    const x = ((at[index] ?? first) - first) / Math.max(last - first, 1);
    const y = high === low ? 0.5 : (number - low) / (high - low);
    return `${(x * 100).toFixed(1)},${(22 - y * 20).toFixed(1)}`;
  });
  return points.join(" ");
}
