/**
 * What the page knows of the factory: Things and their values by slot, in plain arrays. No framework, no three.js.
 *
 * Values are written by frames and read by whoever draws; `changedThings` says which machines to look at again.
 */
import type { Frame } from "../net/frames";

/** A property of a Thing, with the slots that hold it. */
export interface Property {
  feature: string;
  property: string;
  unit: string;
  /** One slot, or one for each element of an array. */
  slots: number[];
  type: "number" | "boolean" | "text";
}

/** A Thing. */
export interface Thing {
  id: string;
  definition: string;
  attributes: Record<string, unknown>;
  connection: string;
  /** The server's time of the newest frame that had something of it; 0 before. */
  heardMs: number;
  properties: Map<string, Property>;
}

/** Samples kept for a sparkline. */
const HISTORY = 120;

export class TwinStore {
  readonly things = new Map<string, Thing>();
  readonly changedThings = new Set<string>();
  /** Counts up when a Thing appears, goes or changes its head. */
  structure = 0;
  lastFrameMs = 0;
  private byNumber = new Map<number, Thing>();
  private owner: (Thing | undefined)[] = [];
  private value = new Float64Array(1024);
  private quality = new Uint8Array(1024);
  private changedAt = new Float64Array(1024);
  private texts = new Map<number, string>();
  private histories = new Map<number, { at: number[]; value: number[] }>();

  /** Forgets everything: a new subscription tells it all again. */
  clear(): void {
    this.things.clear();
    this.changedThings.clear();
    this.byNumber.clear();
    this.owner = [];
    this.texts.clear();
    this.histories.clear();
    this.structure += 1;
  }

  apply(frame: Frame, nowMs: number): void {
    this.lastFrameMs = nowMs;
    switch (frame.kind) {
      case "slots":
        for (const { thing, thingId, definition, attributes, connection } of frame.things) {
          const added = { id: thingId, definition: definition ?? "", attributes, connection, heardMs: 0, properties: new Map<string, Property>() };
          this.things.set(thingId, added);
          this.byNumber.set(thing, added);
          this.changedThings.add(thingId);
        }
        for (const slot of frame.slots) this.addSlot(slot);
        this.structure += 1;
        break;
      case "columns":
        frame.slot.forEach((slot, index) => {
          const owner = this.set(slot, frame.value[index] ?? NaN, frame.quality[index] ?? 0, nowMs);
          if (owner) owner.heardMs = frame.timeMs;
        });
        break;
      case "texts":
        for (const [slot, text, quality] of frame.texts) {
          this.texts.set(slot, text);
          this.set(slot, NaN, quality, nowMs);
        }
        break;
      case "gone":
        this.things.delete(frame.thingId);
        this.structure += 1;
        break;
      case "modified": {
        const thing = this.things.get(frame.thingId);
        if (!thing) break;
        thing.attributes = frame.attributes;
        thing.definition = frame.definition ?? "";
        this.structure += 1;
        this.changedThings.add(thing.id);
        break;
      }
      case "connection": {
        const thing = this.things.get(frame.thingId);
        if (!thing) break;
        thing.connection = frame.connection;
        this.changedThings.add(thing.id);
        break;
      }
      default:
        break;
    }
  }

  /** The numbers of a property: one, or one for each element. Empty where it is text or unknown. */
  numbers(thing: Thing, feature: string, property: string): number[] {
    const found = thing.properties.get(`${feature}/${property}`);
    return found ? found.slots.map((slot) => this.value[slot] ?? NaN) : [];
  }

  /** A property as text, with as many digits as asked for. */
  shown(property: Property, decimals: number): string {
    const slot = property.slots[0];
    if (slot === undefined) return "–";
    if (property.type === "text") return this.texts.get(slot) ?? "–";
    if (property.type === "boolean") return this.value[slot] === 1 ? "yes" : "no";
    const texts = property.slots.map((slot) => {
      const number = this.value[slot] ?? NaN;
      return Number.isNaN(number) ? "–" : number.toFixed(decimals);
    });
    return texts.join(" · ");
  }

  text(property: Property): string {
    return this.texts.get(property.slots[0] ?? -1) ?? "";
  }

  /** The worst quality of a property's slots: 0 good, 1 uncertain, 2 bad, plus 4 when the device is silent. */
  qualityOf(property: Property): number {
    return Math.max(0, ...property.slots.map((slot) => this.quality[slot] ?? 0));
  }

  changedAtMs(property: Property): number {
    return Math.max(0, ...property.slots.map((slot) => this.changedAt[slot] ?? 0));
  }

  /** Recent values of a property's first slot. */
  history(property: Property): { at: number[]; value: number[] } {
    return this.histories.get(property.slots[0] ?? -1) ?? { at: [], value: [] };
  }

  private addSlot(slot: { slot: number; thing: number; feature: string; property: string; unit?: string; type: Property["type"] }): void {
    const thing = this.byNumber.get(slot.thing);
    if (!thing) return;
    this.grow(slot.slot);
    this.owner[slot.slot] = thing;
    const key = `${slot.feature}/${slot.property}`;
    const known = thing.properties.get(key);
    if (known) {
      known.slots.push(slot.slot);
    } else {
      const { feature, property, type } = slot;
      thing.properties.set(key, { feature, property, unit: slot.unit ?? "", slots: [slot.slot], type });
    }
  }

  private set(slot: number, number: number, quality: number, nowMs: number): Thing | undefined {
    const owner = this.owner[slot];
    if (!owner) return undefined;
    this.value[slot] = number;
    this.quality[slot] = quality;
    this.changedAt[slot] = nowMs;
    this.changedThings.add(owner.id);
    if (Number.isNaN(number)) return owner;
    let history = this.histories.get(slot);
    if (!history) this.histories.set(slot, (history = { at: [], value: [] }));
    history.at.push(nowMs);
    history.value.push(number);
    if (history.at.length > HISTORY) {
      history.at.shift();
      history.value.shift();
    }
    return owner;
  }

  private grow(slot: number): void {
    if (slot < this.value.length) return;
    const size = Math.max(slot + 1, this.value.length * 2);
    const copy = <T extends Float64Array | Uint8Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.value = copy(this.value, new Float64Array(size));
    this.quality = copy(this.quality, new Uint8Array(size));
    this.changedAt = copy(this.changedAt, new Float64Array(size));
  }
}
