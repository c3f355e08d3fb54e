/**
 * Reads what the live subscription sends: JSON frames and binary columns (docs/api/websocket.md).
 *
 * Pure. A frame that does not keep the rules gives an error with the reason; it never throws on outside bytes.
 */

/** A Thing as the slot table names it. */
export interface SlotThing {
  thing: number;
  thingId: string;
  definition?: string;
  attributes: Record<string, unknown>;
  connection: string;
}

/** What a slot shows. */
export interface Slot {
  slot: number;
  thing: number;
  feature: string;
  property: string;
  index?: number;
  unit?: string;
  type: "number" | "boolean" | "text";
}

/** What a frame says. */
export type Frame =
  | { kind: "slots"; seq: number; things: SlotThing[]; slots: Slot[] }
  | { kind: "columns"; seq: number; timeMs: number; slot: Uint32Array; value: Float64Array; quality: Uint8Array }
  | { kind: "texts"; seq: number; texts: [number, string, number][] }
  | { kind: "gone"; seq: number; thingId: string }
  | { kind: "modified"; seq: number; thingId: string; definition?: string; attributes: Record<string, unknown> }
  | { kind: "connection"; seq: number; thingId: string; connection: string }
  | { kind: "resync"; seq: number }
  | { kind: "answer"; ok: boolean; detail: string }
  | { kind: "other"; seq: number | null };

/** Bytes before the slots of a binary frame. */
const HEADER_BYTES = 40;

/** Reads a binary frame. */
export function readColumns(bytes: ArrayBuffer): Frame | { error: string } {
  if (bytes.byteLength < HEADER_BYTES) return { error: "a column frame is cut short" };
  const view = new DataView(bytes);
  if (view.getUint32(0, false) !== 0x45474331) return { error: "a binary frame is no column frame" };
  const count = view.getUint32(32, true);
  const valuesAt = (HEADER_BYTES + 4 * count + 7) & ~7;
  if (bytes.byteLength !== valuesAt + 9 * count) return { error: "a column frame's length does not match its count" };
  return {
    kind: "columns",
    seq: Number(view.getBigUint64(8, true)),
    timeMs: Number(view.getBigInt64(24, true)) / 1000,
    slot: new Uint32Array(bytes, HEADER_BYTES, count),
    value: new Float64Array(bytes, valuesAt, count),
    quality: new Uint8Array(bytes, valuesAt + 8 * count, count),
  };
}

/** Reads a text frame. */
export function readText(text: string): Frame | { error: string } {
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    return { error: "a text frame is not JSON" };
  }
  if (!isRecord(frame)) return { error: "a text frame is no object" };
  if (typeof frame.ok === "boolean") {
    const problem = isRecord(frame.problem) ? String(frame.problem.detail ?? "") : "";
    return { kind: "answer", ok: frame.ok, detail: problem };
  }
  const seq = typeof frame.seq === "number" ? frame.seq : null;
  if (seq === null) return { kind: "other", seq };
  const thingId = typeof frame.thingId === "string" ? frame.thingId : "";
  switch (frame.event) {
    case "Slots":
      return { kind: "slots", seq, things: asThings(frame.things), slots: asSlots(frame.slots) };
    case "Texts":
      return { kind: "texts", seq, texts: asTexts(frame.texts) };
    case "ThingDeleted":
    case "ThingLeft":
      return { kind: "gone", seq, thingId };
    case "ThingModified": {
      const attributes = isRecord(frame.attributes) ? frame.attributes : {};
      const definition = typeof frame.definition === "string" ? { definition: frame.definition } : {};
      return { kind: "modified", seq, thingId, attributes, ...definition };
    }
    case "ConnectionChanged":
      return { kind: "connection", seq, thingId, connection: String(frame.connection) };
    case "Resync":
      return { kind: "resync", seq };
    default:
      return { kind: "other", seq };
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function asThings(value: unknown): SlotThing[] {
  if (!Array.isArray(value)) return [];
  return value.filter(isRecord).flatMap((entry) => {
    if (typeof entry.thing !== "number" || typeof entry.thingId !== "string") return [];
    const definition = typeof entry.definition === "string" ? { definition: entry.definition } : {};
    const attributes = isRecord(entry.attributes) ? entry.attributes : {};
    return [{ thing: entry.thing, thingId: entry.thingId, attributes, connection: String(entry.connection ?? "unknown"), ...definition }];
  });
}

function asSlots(value: unknown): Slot[] {
  if (!Array.isArray(value)) return [];
  return value.filter(isRecord).flatMap((entry) => {
    const { slot, thing, feature, property, index, unit, type } = entry;
    if (typeof slot !== "number" || typeof thing !== "number") return [];
    if (typeof feature !== "string" || typeof property !== "string") return [];
    return [
      {
        slot,
        thing,
        feature,
        property,
        type: type === "boolean" || type === "text" ? type : "number",
        ...(typeof index === "number" ? { index } : {}),
        ...(typeof unit === "string" ? { unit } : {}),
      },
    ];
  });
}

function asTexts(value: unknown): [number, string, number][] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((entry): [number, string, number][] => {
    if (!Array.isArray(entry) || typeof entry[0] !== "number") return [];
    const text = typeof entry[1] === "string" ? entry[1] : JSON.stringify(entry[1]);
    return [[entry[0], text, typeof entry[2] === "number" ? entry[2] : 0]];
  });
}
