/** Where machines stand: configs/factory-layout.json, read so that one bad entry is named and the rest still loads. Pure. */

/** A machine's place. Metres; x along the floor's length, z along its width. */
export interface Place {
  thingId: string;
  kind: string;
  name: string;
  area: string;
  x: number;
  z: number;
  rotationDegrees: number;
  length: number;
  width: number;
  height: number;
}

/** A belt or pipe between machines. */
export interface Link {
  kind: string;
  width: number;
  height: number;
  points: { x: number; z: number }[];
}

export interface Layout {
  /** Whether anybody has drawn one. */
  isGiven: boolean;
  title: string;
  length: number;
  width: number;
  areas: { id: string; name: string; x: number; z: number; length: number; width: number }[];
  places: Place[];
  links: Link[];
  /** What was left out, and why. */
  notices: string[];
}

const EMPTY: Layout = { isGiven: false, title: "", length: 40, width: 20, areas: [], places: [], links: [], notices: [] };

type Loose = Record<string, unknown>;

const record = (value: unknown): Loose => (typeof value === "object" && value !== null ? (value as Loose) : {});
const list = (value: unknown): Loose[] => (Array.isArray(value) ? value.map(record) : []);
const number = (value: unknown, otherwise: number): number => (typeof value === "number" && Number.isFinite(value) ? value : otherwise);

export function readLayout(json: unknown): Layout {
  const root = record(json);
  const floor = record(root.floor);
  const layout: Layout = {
    ...EMPTY,
    isGiven: typeof json === "object" && json !== null,
    title: String(root.title ?? root.site ?? ""),
    length: number(floor.length, EMPTY.length),
    width: number(floor.width, EMPTY.width),
    areas: list(root.areas).map((area) => ({
      id: String(area.id),
      name: String(area.name ?? area.id),
      x: number(area.x, 0),
      z: number(area.z, 0),
      length: number(area.length, 1),
      width: number(area.width, 1),
    })),
    places: [],
    links: list(root.conveyors).map((link) => ({
      kind: String(link.kind ?? "belt"),
      width: number(link.width, 0.6),
      height: number(link.height, 0.9),
      points: list(link.points).map((point) => ({ x: number(point.x, 0), z: number(point.z, 0) })),
    })),
    notices: [],
  };
  list(root.equipment).forEach((entry, index) => {
    const position = record(entry.position);
    const size = record(entry.size);
    if (typeof entry.thingId !== "string" || typeof position.x !== "number" || typeof position.z !== "number") {
      layout.notices.push(`layout: equipment ${index} has no thingId or position and is left out`);
      return;
    }
    layout.places.push({
      thingId: entry.thingId,
      kind: String(entry.kind ?? "unknown"),
      name: String(entry.name ?? entry.thingId),
      area: String(entry.area ?? ""),
      x: position.x,
      z: position.z,
      rotationDegrees: number(entry.rotation_degrees, 0),
      length: number(size.length, 2),
      width: number(size.width, 2),
      height: number(size.height, 2),
    });
  });
  return layout;
}

/** Metres from one machine without a place to the next. */
const SPACING = 3;

/** The layout; where nobody has drawn one, a floor with room for so many machines, twice as long as wide. */
export function withRoom(layout: Layout, machines: number): Layout {
  if (layout.isGiven) return layout;
  const rows = Math.max(2, Math.ceil(Math.sqrt(machines / 2)));
  return { ...layout, length: 2 * rows * SPACING, width: rows * SPACING };
}

/** A place for a Thing that the layout does not know, so that no Thing is invisible: beside the floor, or on it where there is no layout. */
export function placeBeside(thingId: string, type: string, index: number, layout: Layout): Place {
  const perRow = Math.max(1, Math.floor(layout.length / SPACING));
  const firstRow = layout.isGiven ? layout.width + SPACING : SPACING / 2;
  return {
    thingId,
    kind: type || "unknown",
    name: thingId.split(":").slice(1).join(":"),
    area: "",
    x: SPACING / 2 + (index % perRow) * SPACING,
    z: firstRow + Math.floor(index / perRow) * SPACING,
    rotationDegrees: 0,
    length: 1.8,
    width: 1.8,
    height: 1.8,
  };
}
