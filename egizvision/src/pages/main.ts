/**
 * The page: brings socket, twin, scene and panels together. Telemetry goes straight into typed arrays; what people see is
 * brought up to date a few times a second, and only where something changed.
 */
import "./style.css";
import type { FromWorker, ToWorker } from "../net/worker";
import { Chart } from "../panels/chart";
import { Inspector } from "../panels/inspector";
import { element } from "../panels/dom";
import { Tree, type TreeEntry } from "../panels/tree";
import { DARK, LIGHT } from "../scene/palette";
import { Plant } from "../scene/plant";
import { placeBeside, readLayout, withRoom, type Layout, type Place } from "../twin/layout";
import { readRules, readSilences, stateOf, type MachineState, type Rules } from "../twin/limits";
import { TwinStore, type Thing } from "../twin/store";

const LABELS_MAX = 60;
const REFRESH_MS = 150;
/** What a machine's label shows, the first that it has. */
const KEY_VALUES = [
  "thermal/temperature_zones", "thermal/chamber_temperature_celsius", "thermal/supply_temperature_celsius", "level/level_percent", "pneumatic/pressure_bar", "steam/pressure_bar",
  "electrical/active_power_kw", "mechanical/speed_rpm", "mechanical/belt_speed_m_min",
];

const byId = (id: string): HTMLElement => document.getElementById(id) ?? document.body;
const store = new TwinStore();
const states = new Map<string, MachineState>();
let rules: Rules = new Map();
let silences = new Map<string, number>();
let layout: Layout = readLayout(null);
/** The layout as it is drawn. */
let floor: Layout = layout;
let places = new Map<string, Place>();
let selected: string | null = null;
let builtStructure = -1;
let connected = false;
let everConnected = false;
let retryAtMs = 0;
let token = sessionStorage.getItem("token");
let tokenNeeded = false;
let firstValues: () => void = () => {};
const ready = new Promise<void>((resolve) => (firstValues = resolve));

// The bar: where we are, whether it is live, what is wrong.
const title = element("strong", "title", "EgizVision");
const live = element("span", "live", "connecting…", { role: "status" });
const counts = element("span", "counts", "", { "aria-live": "polite" });
const SIGNS: [string, string][] = [["⬡", "anomaly"], ["●", "critical"], ["◆", "warning"], ["⌀", "silent"]];
counts.title = SIGNS.map(([sign, what]) => `${sign} ${what}`).join("   ");
const theme = element("button", "", "◐", { type: "button", "aria-label": "Switch between dark and light" });
const keys = element("button", "", "?", { type: "button", "aria-label": "Keyboard help" });
byId("bar").append(title, live, counts, theme, keys);
const notice = element("div", "notice", "Connecting to the platform…");
byId("stage").append(notice);
const entry = element("form", "token");
const tokenField = element("input", "", "", { type: "password", autocomplete: "off", required: "", "aria-label": "Access token" });
const tokenText = element("p");
entry.append(tokenText, tokenField, element("button", "", "Connect"));
entry.hidden = true;
byId("stage").append(entry);
const labels = element("div", "labels", "", { "aria-hidden": "true" });
byId("stage").append(labels);

const tree = new Tree(byId("tree"));
const chart = new Chart({
  store,
  rule: (thing, property) => rules.get(thing.definition)?.get(`${property.feature}/${property.property}`),
  silenceS: (thing) => silences.get(thing.definition),
  ask: (path, signal) => request(path, signal),
});
const inspector = new Inspector(byId("inspector"), chart.root, store, () => rules);
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
let dark = localStorage.getItem("theme") ? localStorage.getItem("theme") === "dark" : prefersDark.matches;
document.documentElement.dataset.theme = dark ? "dark" : "light";

const plant = openPlant();

/** The 3D view, or none where the browser has no WebGL: the list has everything. */
function openPlant(): Plant | null {
  try {
    const made = new Plant(byId("stage"), dark ? DARK : LIGHT, matchMedia("(prefers-reduced-motion: reduce)").matches);
    made.onPick = select;
    made.onFrame = placeLabels;
    return made;
  } catch {
    document.body.classList.add("no-webgl");
    return null;
  }
}

function nameOf(thing: Thing): string {
  const attribute = thing.attributes.name;
  return places.get(thing.id)?.name ?? (typeof attribute === "string" ? attribute : thing.id.split(":").slice(1).join(":"));
}

function keyValue(thing: Thing): string {
  for (const key of KEY_VALUES) {
    const property = thing.properties.get(key);
    if (!property) continue;
    const numbers = store.numbers(thing, property.feature, property.property).filter((number) => !Number.isNaN(number));
    if (numbers.length === 0) continue;
    const decimals = rules.get(thing.definition)?.get(key)?.decimals ?? 1;
    return `${Math.max(...numbers).toFixed(decimals)} ${property.unit}`;
  }
  return "";
}

function select(id: string | null): void {
  selected = id;
  if (chart.shown?.thingId !== id) chart.close();
  plant?.select(id);
  tree.select(id);
  const thing = id ? (store.things.get(id) ?? null) : null;
  inspector.show(thing, thing ? nameOf(thing) : "");
  refresh(true);
}

/** Places, list and scene after Things came or went. */
function rebuild(): void {
  builtStructure = store.structure;
  const fixed = new Map(layout.places.map((place) => [place.thingId, place]));
  let beside = 0;
  floor = withRoom(layout, store.things.size);
  places = new Map();
  const entries: TreeEntry[] = [];
  for (const thing of store.things.values()) {
    const place = fixed.get(thing.id) ?? placeBeside(thing.id, String(thing.attributes.type ?? ""), beside++, floor);
    places.set(thing.id, place);
    entries.push({ id: thing.id, name: nameOf(thing), area: place.area });
  }
  tree.show(entries.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })), layout.areas);
  tree.select(selected);
  plant?.show(floor, [...places.values()]);
  for (const id of store.things.keys()) store.changedThings.add(id);
  if (selected) {
    const thing = store.things.get(selected) ?? null;
    inspector.show(thing, thing ? nameOf(thing) : "");
  }
}

function refresh(everything = false): void {
  if (store.structure !== builtStructure) rebuild();
  const changed = everything ? store.things.keys() : [...store.changedThings];
  for (const id of changed) {
    const thing = store.things.get(id);
    if (!thing) continue;
    const state = stateOf(store, thing, rules);
    const before = states.get(id);
    states.set(id, state);
    tree.update(id, state, keyValue(thing));
    if (everything || before?.words !== state.words || before.severity !== state.severity) plant?.setState(id, state);
  }
  store.changedThings.clear();
  const thing = selected ? store.things.get(selected) : undefined;
  const state = selected ? states.get(selected) : undefined;
  if (thing && state) inspector.update(state, Date.now());
  chart.update(Date.now());
  placeLabels();
  showStatus();
}

function showStatus(): void {
  const all = [...store.things.keys()].map((id) => states.get(id));
  const anomalies = all.filter((state) => state?.anomaly).length;
  const critical = all.filter((state) => state?.severity === 2).length;
  const warning = all.filter((state) => state?.severity === 1).length;
  const quiet = all.filter((state) => state?.quiet).length;
  setText(counts, `${all.length} machines   ⬡ ${anomalies}   ● ${critical}   ◆ ${warning}   ⌀ ${quiet}`);
  const seconds = Math.max(0, Math.ceil((retryAtMs - Date.now()) / 1000));
  setText(live, connected ? "● live" : tokenNeeded ? "no access" : everConnected ? `no connection, retry in ${seconds} s` : "connecting…");
  live.classList.toggle("lost", !connected);
  document.body.classList.toggle("disconnected", !connected && everConnected);
  const empty = connected && store.things.size === 0;
  notice.hidden = tokenNeeded || (connected && !empty && layout.notices.length === 0);
  entry.hidden = !tokenNeeded;
  if (!connected) setText(notice, everConnected ? "No connection. What you see is how it was; the page comes back by itself." : "Connecting to the platform…");
  else if (empty) setText(notice, "No machines yet. Publish to sensors/<site>/<device>/telemetry over MQTT, or start the demo factory with openegiz up --demo.");
  else setText(notice, layout.notices.join("\n"));
}

function setText(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

const pool: HTMLElement[] = [];

/** Labels where there is room for them: what is selected or abnormal first, then the nearest. */
function placeLabels(): void {
  if (!plant) return;
  const weight = (id: string): number => {
    const state = states.get(id);
    return (id === selected ? 8 : 0) + (state?.anomaly ? 4 : 0) + (state?.severity ?? 0);
  };
  const points = plant.project().filter((point) => point.visible).sort((a, b) => weight(b.id) - weight(a.id) || a.distance - b.distance);
  const taken: { x: number; y: number; width: number }[] = [];
  let used = 0;
  for (const point of points) {
    if (used >= LABELS_MAX) break;
    const thing = store.things.get(point.id);
    if (!thing) continue;
    const state = states.get(point.id);
    const name = nameOf(thing);
    const shown = state?.quiet ? "⌀" : keyValue(thing);
    const width = 30 + 7 * (name.length + shown.length);
    const crowded = taken.some((other) => Math.abs(other.x - point.x) < (other.width + width) / 2 && Math.abs(other.y - point.y) < 28);
    if (crowded) continue;
    taken.push({ x: point.x, y: point.y, width });
    let label = pool[used];
    if (!label) {
      label = element("div", "label");
      label.append(element("span", "label-name"), element("span", "label-value"));
      pool.push(label);
      labels.append(label);
    }
    used += 1;
    label.hidden = false;
    label.style.transform = `translate(-50%, -100%) translate(${Math.round(point.x)}px, ${Math.round(point.y)}px)`;
    label.dataset.severity = String(state?.anomaly ? 2 : (state?.severity ?? 0));
    label.classList.toggle("selected", point.id === selected);
    label.classList.toggle("quiet", state?.quiet ?? true);
    setText(label.children[0] as HTMLElement, name);
    setText(label.children[1] as HTMLElement, shown);
  }
  pool.slice(used).forEach((label) => (label.hidden = true));
}

function setTheme(next: boolean): void {
  dark = next;
  localStorage.setItem("theme", dark ? "dark" : "light");
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  plant?.setPalette(dark ? DARK : LIGHT);
  plant?.show(floor, [...places.values()]);
  chart.redraw();
  refresh(true);
}

const help = byId("help") as HTMLDialogElement;
const KEYS: [string, string][] = [["/", "find a machine"], ["↑ ↓", "walk through the list"], ["Enter", "open the machine, or a property's chart"], ["← →", "along a chart's line"], ["Esc", "close it"], ["H", "the whole factory"], ["?", "these keys"]];
help.append(element("h1", "", "Keys"));
const explain = (shown: [string, string][]): void => {
  for (const [key, what] of shown) {
    const line = element("p");
    line.append(element("kbd", "", key), document.createTextNode(` ${what}`));
    help.append(line);
  }
};
explain(KEYS);
help.append(element("h1", "", "Signs"));
explain(SIGNS);
const closeHelp = element("button", "", "Close", { type: "button" });
closeHelp.addEventListener("click", () => help.close());
help.append(closeHelp);
keys.addEventListener("click", () => help.showModal());
theme.addEventListener("click", () => setTheme(!dark));
tree.onSelect = select;
inspector.onClose = () => select(null);
inspector.onChart = (thing, property) => {
  chart.open(thing, property);
  inspector.mark(`${property.feature}/${property.property}`);
};
chart.onClose = (hadFocus) => inspector.unmark(hadFocus);
document.addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLInputElement && event.key !== "Escape") return;
  if (event.key === "/") {
    event.preventDefault();
    tree.search.focus();
  } else if (event.key === "Escape") {
    tree.clearSearch();
    select(null);
  } else if (event.key === "?") help.showModal();
  else if (event.key === "h" || event.key === "H") plant?.home(floor);
});
document.addEventListener("visibilitychange", () => plant?.invalidate());

function request(path: string, signal: AbortSignal | null = null): Promise<Response> {
  return fetch(path, { signal, headers: token ? { authorization: `Bearer ${token}` } : {} });
}

async function json(path: string): Promise<unknown> {
  const answer = await request(path);
  return answer.ok ? answer.json() : null;
}

/** Layout and limits; without them the machines stand in a row and have no limits. */
async function loadSurroundings(): Promise<void> {
  const [where, what] = await Promise.all([json("/api/v1/layout"), json("/api/v1/templates?limit=200")].map((one) => one.catch(() => null)));
  layout = readLayout(where);
  const templates = (what as { items?: unknown } | null)?.items;
  rules = readRules(templates);
  silences = readSilences(templates);
  setText(title, layout.title || "EgizVision");
  builtStructure = -1;
}

const worker = new Worker(new URL("../net/worker.ts", import.meta.url), { type: "module" });
worker.onmessage = (event: MessageEvent<FromWorker>) => {
  const message = event.data;
  if (message.kind === "open") {
    store.clear();
    states.clear();
    connected = true;
    everConnected = true;
    tokenNeeded = false;
    chart.back();
    void loadSurroundings();
  } else if (message.kind === "token-needed") {
    connected = false;
    chart.lost(Date.now());
    tokenNeeded = true;
    setText(tokenText, token ? "This token is not valid, or not any more." : "Who looks at this factory needs an access token.");
    showStatus();
    tokenField.focus();
  } else if (message.kind === "closed") {
    connected = false;
    chart.lost(Date.now());
    retryAtMs = message.retryAtMs;
  } else {
    const now = Date.now();
    for (const frame of message.frames) {
      store.apply(frame, now);
      chart.take(frame, now);
    }
    if (store.things.size > 0) firstValues();
  }
};
const connect = (): void => worker.postMessage({ origin: location.origin, token } satisfies ToWorker);
entry.addEventListener("submit", (event) => {
  event.preventDefault();
  token = tokenField.value.trim();
  // For this tab and no longer.
  sessionStorage.setItem("token", token);
  tokenField.value = "";
  connect();
});
connect();
setInterval(() => refresh(), REFRESH_MS);

/** Read by browser tests; nothing here changes anything. */
Object.assign(window, {
  egizvision: {
    ready,
    get connected() { return connected; },
    get things() { return store.things.size; },
    get selected() { return selected; },
    get frames() { return plant?.frames ?? 0; },
    get info() { return plant?.info ?? null; },
    numbers: (id: string, feature: string, property: string) => {
      const thing = store.things.get(id);
      return thing ? store.numbers(thing, feature, property) : [];
    },
    get charted() { return chart.size; },
    at: (id: string) => plant?.project("middle").find((point) => point.id === id) ?? null,
  },
});
