import { describe, expect, it } from "vitest";
import { dotted, extremes, limitLines, limitWords, momentText, nearest, readHistory, scaleOf, stepped, timeMark, Trace, valueMark, WINDOWS, type Points } from "./history";

const points = (...pairs: [number, number | null][]): Points => ({ at: pairs.map(([at]) => at), value: pairs.map(([, value]) => value) });
const pairs = ({ at, value }: Points): [number, number | null][] => at.map((time, index) => [time, value[index] ?? null]);

/** A line over a window of 1,000 ms in ten columns, with these samples. */
function traced(...samples: [number, number | null, number?][]): Trace {
  const trace = new Trace(1000, 10);
  for (const [at, value, heard] of samples) trace.append(at, value, heard);
  return trace;
}

describe("the server's answer", () => {
  it("becomes points, with a break where there is no value", () => {
    const answer = { thingId: "a:b", properties: [{ known: true, samples: [
      { time: "2024-01-27T10:00:00.000Z", value: 5.5 }, { time: "2024-01-27T10:00:01.000Z", value: null, quality: "bad" }, { time: "2024-01-27T10:00:02.000Z", value: 6, quality: "uncertain" },
    ] }] };
    const start = Date.UTC(2024, 0, 27, 10);
    expect(readHistory(answer)).toEqual(points([start, 5.5], [start + 1000, null], [start + 2000, 6]));
  });

  it("leaves out what cannot be read, and is told from something else", () => {
    expect(readHistory({ properties: [{ samples: [5, null, { time: "when?" }, { time: "2024-01-27T10:00:02Z", value: 1 }, { time: "2024-01-27T10:00:01Z", value: 2 }] }] })?.value).toEqual([1]);
    expect(readHistory({ properties: [] })).toEqual(points());
    expect(readHistory({ properties: [{ known: false }] })).toEqual(points());
    for (const json of [null, 5, "x", [], {}, { properties: 5 }]) expect(readHistory(json)).toBeNull();
  });
});

describe("a line that goes on", () => {
  it("has the past, and of what arrived only what is newer", () => {
    const trace = traced([100, 1], [200, 2], [300, 3]);
    trace.replace(points([50, 0], [150, 1], [200, 2]));
    expect(pairs(trace.drawn(300, false))).toEqual([[50, 0], [150, 1], [200, 2], [300, 3]]);
    trace.replace(points());
    expect(trace.length).toBe(4);
  });

  it("fills a gap from the past, and keeps it where the past has nothing either", () => {
    const trace = traced([100, 1], [150, null], [500, 2]);
    trace.replace(points([100, 1]));
    expect(pairs(trace.drawn(500, false))).toEqual([[100, 1], [150, null], [500, 2]]);
    trace.replace(points([100, 1], [250, 4], [350, 5]));
    expect(pairs(trace.drawn(500, false))).toEqual([[100, 1], [250, 4], [350, 5], [500, 2]]);
  });

  it("keeps of each column the first, least, greatest and last", () => {
    const trace = traced([100, 5], [110, 9], [120, 1], [130, 6], [140, 4], [199, 7], [200, 3]);
    expect(pairs(trace.drawn(200, false))).toEqual([[100, 5], [110, 9], [120, 1], [199, 7], [200, 3]]);
  });

  it("shows a break, but none narrower than a column", () => {
    expect(traced([100, 5], [110, null], [120, null], [250, 6]).drawn(250, false).value).toEqual([5, null, 6]);
    expect(traced([100, 5], [110, null], [120, 6]).drawn(120, false).value).toEqual([5, 6]);
    expect(traced([100, null]).length).toBe(0);
  });

  it("holds a value for as long as the device was heard without a change, and until now while it is live", () => {
    const trace = traced([100, 5], [700, 8, 600]);
    expect(pairs(trace.drawn(900, true))).toEqual([[100, 5], [600, 5], [700, 8], [900, 8]]);
    expect(trace.drawn(900, false).at).toEqual([100, 600, 700]);
    trace.append(950, null);
    expect(trace.drawn(999, true).value).toEqual([5, 5, 8, null]);
  });

  it("forgets what is older than the window", () => {
    const trace = traced([100, 1], [900, 2], [1100, 3]);
    expect(trace.drawn(1100, false).value).toEqual([1, 2, 3]);
    trace.trim(1901);
    expect(pairs(trace.drawn(1901, false))).toEqual([[1100, 3]]);
    trace.append(1150, 4);
    expect(trace.drawn(1901, false).value).toEqual([3, 4]);
    trace.trim(9999);
    expect(trace.length).toBe(0);
    trace.append(9999, 5);
    expect(trace.drawn(9999, false).value).toEqual([5]);
  });

  it("believes a clock that was put back", () => {
    expect(pairs(traced([500, 1], [600, 2], [550, 3], [560, 4]).drawn(600, false))).toEqual([[500, 1], [550, 3], [560, 4]]);
  });

  it("does not grow, whatever comes, and loses no extreme", () => {
    const trace = new Trace(1000, 10);
    let seed = 1;
    const chance = (): number => (seed = (seed * 48271) % 2147483647) / 2147483647;
    const said: [number, number][] = [];
    for (let at = 0; at < 20_000; at += 0.5) {
      const value = chance() < 0.3 ? null : chance() * 100;
      trace.append(at, value, at - 0.2);
      if (value !== null) said.push([at, value]);
      if (trace.length > 66) throw new Error(`${trace.length} points at ${at}`);
      const { at: times } = trace.drawn(at, false);
      if (times.some((time, index) => index > 0 && time <= (times[index - 1] ?? 0))) throw new Error(`out of order at ${at}`);
    }
    const seen = said.filter(([at]) => at >= 19_000).map(([, value]) => value);
    expect(extremes(trace.drawn(20_000, false))).toEqual({ min: Math.min(...seen), max: Math.max(...seen) });
  });
});

describe("the scale", () => {
  const within = ({ min, max }: { min: number; max: number }, value: number): boolean => min < value && value < max;

  it("has the line, and the limits that do not flatten it", () => {
    const limits = limitLines({ warning_low: 5, warning_high: 12, critical_high: 1000 });
    const scale = scaleOf({ min: 8, max: 10 }, limits, 0.1);
    expect([8, 10, 12].every((value) => within(scale, value))).toBe(true);
    expect(within(scale, 1000)).toBe(false);
    expect(scale.max - scale.min).toBeLessThan(3 * 2 * 1.13);
  });

  it("has a height for a flat line, for limits alone and for nothing", () => {
    const flat = scaleOf({ min: 7, max: 7 }, [], 0.1);
    expect(within(flat, 7) && flat.max - flat.min > 0.1).toBe(true);
    expect(within(scaleOf(null, limitLines({ warning_high: 5 }), 1), 5)).toBe(true);
    expect(scaleOf(null, [], 1)).toEqual({ min: 0, max: 1 });
    expect(extremes(points([1, null]))).toBeNull();
  });

  it("says limits in words", () => {
    const rule = { warning_low: 10, warning_high: 20, critical_high: 30 };
    expect(limitLines(rule)).toEqual([{ value: 10, severity: "warning" }, { value: 20, severity: "warning" }, { value: 30, severity: "critical" }]);
    expect(limitWords(rule, "warning", "°C")).toBe("warning below 10 and above 20 °C");
    expect(limitWords(rule, "critical", "")).toBe("critical above 30");
    expect(limitWords(undefined, "critical", "°C")).toBe("");
  });

  it("marks values with the digits that tell them apart, and times by day where one begins", () => {
    expect([[195, 1], [195.25, 0.25], [0.30000000000000004, 0.1], [20_000, 5000], [12_500_000, 500_000], [1200, 200], [-20_000, 10_000]].map(([value, step]) => valueMark(value ?? 0, step ?? 1))).toEqual([
      "195", "195.25", "0.3", "20k", "12.5M", "1200", "-20k",
    ]);
    const noon = Date.UTC(2024, 0, 27, 12, 5, 9);
    expect([timeMark(noon, "UTC"), timeMark(Date.UTC(2024, 0, 27), "UTC")]).toEqual(["12:05", "27 Jan"]);
    expect(WINDOWS.map(({ ms }) => momentText(noon, ms, "UTC"))).toEqual(["12:05:09", "12:05:09", "12:05:09", "27 Jan, 12:05:09", "27 Jan, 12:05:09"]);
  });
});

describe("looking at points", () => {
  const line = points([0, 1], [10, null], [20, 3], [30, null], [40, 5], [50, 6]);

  it("goes from value to value, over breaks, and stays at the ends", () => {
    expect([stepped(line, 0, 1), stepped(line, 2, 1), stepped(line, 5, -2), stepped(line, 5, 1), stepped(line, 0, -10)]).toEqual([2, 4, 2, 5, 0]);
    expect([nearest(line, 12), nearest(line, 99), nearest(line, Infinity), nearest(line, -Infinity), nearest(points(), 1)]).toEqual([2, 5, 5, 0, -1]);
  });

  it("has dots where no line reaches, and at its end", () => {
    expect(dotted(line.value)).toEqual([0, 2, 5]);
    expect(dotted([1, 2, null])).toEqual([]);
    expect(dotted([1])).toEqual([0]);
    expect(dotted([])).toEqual([]);
  });
});
