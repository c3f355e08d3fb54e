/** The list of machines: the same as the scene in words, searchable, reachable by keyboard, and all there is without WebGL. */
import type { MachineState } from "../twin/limits";
import { element } from "./dom";

export interface TreeEntry {
  id: string;
  name: string;
  area: string;
}

export class Tree {
  onSelect: (id: string) => void = () => {};
  readonly search: HTMLInputElement;
  private readonly list = element("div", "tree-list");
  private readonly rows = new Map<string, { button: HTMLButtonElement; state: HTMLSpanElement; value: HTMLSpanElement; mark: HTMLSpanElement }>();

  constructor(host: HTMLElement) {
    this.search = element("input", "search", "", { type: "search", placeholder: "Find a machine   /", "aria-label": "Find a machine" });
    this.search.addEventListener("input", () => this.filter());
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") this.move(null, 1);
      if (event.key === "Enter") this.visible()[0]?.click();
    });
    host.append(this.search, this.list);
  }

  show(entries: TreeEntry[], areas: { id: string; name: string }[]): void {
    this.list.replaceChildren();
    this.rows.clear();
    const groups = [...areas, { id: "", name: areas.length > 0 ? "Not placed" : "Machines" }];
    for (const group of groups) {
      const members = entries.filter((entry) => (groups.some((known) => known.id === entry.area) ? entry.area : "") === group.id);
      if (members.length === 0) continue;
      this.list.append(element("h2", "", group.name));
      for (const entry of members) this.list.append(this.row(entry));
    }
    this.filter();
  }

  clearSearch(): void {
    this.search.value = "";
    this.search.blur();
    this.filter();
  }

  update(id: string, state: MachineState, value: string): void {
    const row = this.rows.get(id);
    if (!row) return;
    if (row.state.textContent !== state.words) row.state.textContent = state.words;
    if (row.value.textContent !== value) row.value.textContent = value;
    const mark = state.anomaly ? "⬡" : ["", "◆", "●"][state.severity];
    if (row.mark.textContent !== mark) row.mark.textContent = mark ?? "";
    row.button.dataset.severity = String(state.anomaly ? 2 : state.severity);
    row.button.classList.toggle("quiet", state.quiet);
  }

  select(id: string | null): void {
    for (const [other, row] of this.rows) row.button.setAttribute("aria-current", String(other === id));
    if (id) this.rows.get(id)?.button.scrollIntoView({ block: "nearest" });
  }

  private row(entry: TreeEntry): HTMLButtonElement {
    const button = element("button", "machine", "", { type: "button", "data-thing": entry.id });
    const [mark, name, value, state] = [element("span", "mark", "", { "aria-hidden": "true" }), element("span", "name", entry.name), element("span", "value"), element("span", "state")];
    button.append(mark, name, value, state);
    button.addEventListener("click", () => this.onSelect(entry.id));
    button.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") this.move(button, 1);
      if (event.key === "ArrowUp") this.move(button, -1);
    });
    this.rows.set(entry.id, { button, state, value, mark });
    return button;
  }

  private visible(): HTMLButtonElement[] {
    return [...this.rows.values()].map((row) => row.button).filter((button) => !button.hidden);
  }

  private move(from: HTMLButtonElement | null, by: number): void {
    const visible = this.visible();
    visible[from ? visible.indexOf(from) + by : 0]?.focus();
  }

  private filter(): void {
    const wanted = this.search.value.trim().toLowerCase();
    for (const [id, row] of this.rows) row.button.hidden = !`${id} ${row.button.textContent ?? ""}`.toLowerCase().includes(wanted);
    for (const heading of this.list.querySelectorAll("h2")) {
      let next = heading.nextElementSibling;
      let any = false;
      while (next && next.tagName !== "H2") {
        any ||= !(next as HTMLElement).hidden;
        next = next.nextElementSibling;
      }
      heading.hidden = !any;
    }
  }
}
