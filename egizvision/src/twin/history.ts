/**
 * The line of one property over a window of time: what the server remembers, continued by what arrives. Pure.
 *
 * Bounded as the server's answer is: of each column of pixels the first, least, greatest and last sample stay, and what is
 * older than the window leaves. A break narrower than a column is not shown, a wider one is a point without a value.
 * Source: M4 (Jugel, Jerzak, Hackenbroich, Markl, PVLDB 7(10), 2014), as in egiz-historian's `downsample`.
 */
import { isRecord } from "../net/frames";
import type { Rule } from "./limits";

/** Points in order of time, in milliseconds since 1970; `null` breaks the line. */
export interface Points {
  at: number[];
  value: (number | null)[];
}

/** What can be looked at. */
export const WINDOWS = [
  { label: "15 min", ms: 15 * 60_000 },
  { label: "1 h", ms: 3_600_000 },
  { label: "8 h", ms: 8 * 3_600_000 },
  { label: "24 h", ms: 24 * 3_600_000 },
  { label: "7 d", ms: 7 * 24 * 3_600_000 },
] as const;

/** The points of an answer of `GET …/history?width=`, or `null` where it is none. */
export function readHistory(json: unknown): Points | null {
  const properties = isRecord(json) && Array.isArray(json.properties) ? json.properties : null;
  if (!properties) return null;
  const points: Points = { at: [], value: [] };
  const first: unknown = properties[0];
  if (!isRecord(first) || !Array.isArray(first.samples)) return points;
  for (const sample of first.samples) {
    const at = isRecord(sample) && typeof sample.time === "string" ? Date.parse(sample.time) : NaN;
    const before = points.at.at(-1) ?? -Infinity;
    if (!isRecord(sample) || Number.isNaN(at) || at < before) continue;
    const value = typeof sample.value === "number" ? sample.value : null;
    points.at.push(at);
    points.value.push(value);
  }
  return points;
}

export class Trace {
  private readonly columnMs: number;
  private at: number[] = [];
  private value: (number | null)[] = [];
  /** Where the points of the column that is being filled begin, and which column it is. */
  private groupStart = 0;
  private groupColumn = NaN;

  /** A line over `windowMs`, in so many columns. */
  constructor(readonly windowMs: number, columns: number) {
    this.columnMs = windowMs / Math.max(1, columns);
  }

  get length(): number {
    return this.at.length;
  }

  get last(): number | null {
    return this.value.at(-1) ?? null;
  }

  /** Puts what the server remembers in the place of all that is not newer. */
  replace(past: Points): void {
    const end = past.at.at(-1) ?? -Infinity;
    const newer = this.at.findIndex((at) => at > end);
    this.at = past.at.concat(newer < 0 ? [] : this.at.slice(newer));
    this.value = past.value.concat(newer < 0 ? [] : this.value.slice(newer));
    this.groupStart = this.at.length;
    this.groupColumn = NaN;
  }

  /**
   * Continues the line. `heardMs` is when the device was heard last before: until then the value was still the old one, for
   * the stream tells changes only.
   */
  append(atMs: number, value: number | null, heardMs = -Infinity): void {
    this.forgetFrom(atMs);
    const end = this.at.at(-1) ?? Infinity;
    const held = this.last;
    if (value !== null && held !== null && heardMs > end && heardMs < atMs) this.add(heardMs, held);
    this.add(atMs, value);
    this.trim(atMs);
  }

  /** Lets go what is older than the window that ends now. */
  trim(nowMs: number): void {
    const from = nowMs - this.windowMs;
    const gone = this.at.findIndex((at) => at >= from);
    const count = gone < 0 ? this.at.length : gone;
    if (count === 0) return;
    this.at.splice(0, count);
    this.value.splice(0, count);
    this.groupStart = Math.max(0, this.groupStart - count);
  }

  /** The line as it is drawn: while the device is live its last value holds until now. */
  drawn(nowMs: number, isLive: boolean): Points {
    const points = { at: this.at.slice(), value: this.value.slice() };
    const end = this.at.at(-1);
    if (isLive && end !== undefined && end < nowMs && this.last !== null) {
      points.at.push(nowMs);
      points.value.push(this.last);
    }
    return points;
  }

  private add(atMs: number, value: number | null): void {
    const column = Math.floor(atMs / this.columnMs);
    const isBroken = this.at.length > 0 && this.last === null;
    if (value === null) {
      if (this.at.length > 0 && !isBroken) this.push(atMs, null);
      return;
    }
    const sameColumn = column === this.groupColumn && this.groupStart < this.at.length;
    if (!sameColumn) {
      this.groupStart = this.at.length;
      this.groupColumn = column;
      this.push(atMs, value);
      return;
    }
    if (isBroken) this.pop();
    this.push(atMs, value);
    this.thin();
  }

  /** Of the column that is being filled: the first, least, greatest and last. */
  private thin(): void {
    const start = this.groupStart;
    const end = this.at.length - 1;
    let [low, high] = [start, start];
    for (let index = start; index <= end; index++) {
      if (this.number(index) < this.number(low)) low = index;
      if (this.number(index) > this.number(high)) high = index;
    }
    const kept = [...new Set([start, low, high, end])].sort((a, b) => a - b);
    const [at, value] = [kept.map((index) => this.at[index] ?? 0), kept.map((index) => this.value[index] ?? null)];
    this.at.splice(start, Infinity, ...at);
    this.value.splice(start, Infinity, ...value);
  }

  /** A clock that was put back: what it said before about this time and later does not hold. */
  private forgetFrom(atMs: number): void {
    while ((this.at.at(-1) ?? -Infinity) >= atMs) this.pop();
    this.groupStart = Math.min(this.groupStart, this.at.length);
  }

  private number(index: number): number {
    return this.value[index] ?? NaN;
  }

  private push(atMs: number, value: number | null): void {
    this.at.push(atMs);
    this.value.push(value);
  }

  private pop(): void {
    this.at.pop();
    this.value.pop();
  }
}

/** The least and the greatest of the points, or `null` where none has a value. */
export function extremes(points: Points): { min: number; max: number } | null {
  let [min, max] = [Infinity, -Infinity];
  for (const value of points.value) {
    if (value === null) continue;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return min <= max ? { min, max } : null;
}

/** A limit as a line. */
export interface LimitLine {
  value: number;
  severity: "warning" | "critical";
}

export function limitLines(rule: Rule | undefined): LimitLine[] {
  const lines: [number | undefined, LimitLine["severity"]][] = [
    [rule?.critical_low, "critical"], [rule?.warning_low, "warning"], [rule?.warning_high, "warning"], [rule?.critical_high, "critical"],
  ];
  return lines.flatMap(([value, severity]) => (typeof value === "number" ? [{ value, severity }] : []));
}

/** The limits in words, for a line is not read by everybody: `warning below 10, above 20`. */
export function limitWords(rule: Rule | undefined, severity: LimitLine["severity"], unit: string): string {
  const [low, high] = severity === "warning" ? [rule?.warning_low, rule?.warning_high] : [rule?.critical_low, rule?.critical_high];
  const sides = [low === undefined ? "" : `below ${low}`, high === undefined ? "" : `above ${high}`].filter((side) => side !== "");
  return sides.length === 0 ? "" : `${severity} ${sides.join(" and ")}${unit ? ` ${unit}` : ""}`;
}

/** How much of the height the line keeps at least when limits are let in. */
const LINE_SHARE_MIN = 1 / 3;

/**
 * From which value to which the chart goes: the line with some air, and the limits as long as they do not flatten it, the
 * nearest first. `smallest` is the least difference that is worth a chart's height.
 */
export function scaleOf(line: { min: number; max: number } | null, limits: LimitLine[], smallest: number): { min: number; max: number } {
  if (!line) return limits.length > 0 ? padded(Math.min(...limits.map((limit) => limit.value)), Math.max(...limits.map((limit) => limit.value)), smallest) : { min: 0, max: 1 };
  const span = Math.max(line.max - line.min, smallest);
  let [min, max] = [line.min, line.max];
  const distance = (limit: LimitLine): number => Math.max(line.min - limit.value, limit.value - line.max);
  for (const { value } of [...limits].sort((a, b) => distance(a) - distance(b))) {
    const [low, high] = [Math.min(min, value), Math.max(max, value)];
    if (high - low > span / LINE_SHARE_MIN) continue;
    [min, max] = [low, high];
  }
  return padded(min, max, smallest);
}

function padded(min: number, max: number, smallest: number): { min: number; max: number } {
  const span = Math.max(max - min, smallest);
  const middle = (min + max) / 2;
  return { min: middle - span * 0.56, max: middle + span * 0.56 };
}

/** Points to draw as dots: those that no line reaches, for there is nothing on either side, and the last, which is now. */
export function dotted(value: readonly (number | null)[]): number[] {
  const isThere = (index: number): boolean => typeof value[index] === "number";
  return value.flatMap((_, index) => (isThere(index) && !isThere(index + 1) && (index === value.length - 1 || !isThere(index - 1)) ? [index] : []));
}

/** The point nearest in time that has a value, or -1; of `Infinity` the last. */
export function nearest(points: Points, atMs: number): number {
  const wanted = Math.max(points.at[0] ?? 0, Math.min(points.at.at(-1) ?? 0, atMs));
  let best = -1;
  points.at.forEach((at, index) => {
    if (points.value[index] === null) return;
    if (best < 0 || Math.abs(at - wanted) < Math.abs((points.at[best] ?? 0) - wanted)) best = index;
  });
  return best;
}

/** The next point with a value, so many points on; at the ends it stays. */
export function stepped(points: Points, index: number, by: number): number {
  const way = Math.sign(by);
  let found = index;
  for (let left = Math.abs(by), next = index + way; left > 0 && next >= 0 && next < points.at.length; next += way) {
    if (points.value[next] === null) continue;
    found = next;
    left -= 1;
  }
  return found;
}

const DAY_MS = 24 * 3_600_000;
const format = (options: Intl.DateTimeFormatOptions, zone?: string): Intl.DateTimeFormat =>
  new Intl.DateTimeFormat("en-GB", { hourCycle: "h23", ...options, ...(zone ? { timeZone: zone } : {}) });

/** A moment for reading: to the second, with the day where the window is longer than one. */
export function momentText(atMs: number, windowMs: number, zone?: string): string {
  const time = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" }, zone).format(atMs);
  return windowMs < DAY_MS ? time : `${format({ day: "numeric", month: "short" }, zone).format(atMs)}, ${time}`;
}

/** A mark of the time axis; midnight is a day. */
export function timeMark(atMs: number, zone?: string): string {
  const time = format({ hour: "2-digit", minute: "2-digit" }, zone).format(atMs);
  return time === "00:00" ? format({ day: "numeric", month: "short" }, zone).format(atMs) : time;
}

/** A mark of the value axis, with the digits that tell it from the next. */
export function valueMark(value: number, step: number): string {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]] as const) {
    if (Math.abs(value) >= 10 * size && step >= size / 10) return `${(value / size).toFixed(step >= size ? 0 : 1)}${letter}`;
  }
  let digits = 0;
  while (digits < 6 && Math.abs(step - Number(step.toFixed(digits))) > step * 1e-6) digits += 1;
  return value.toFixed(digits);
}
