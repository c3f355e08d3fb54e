import { expect, it } from "vitest";
import { readRules, readSilences, Severity, severityOf, stateOf } from "./limits";
import { TwinStore } from "./store";

it("the worst broken limit counts", () => {
  const rule = { warning_low: 10, warning_high: 20, critical_high: 30 };
  expect([5, 10, 20, 21, 31, NaN].map((value) => severityOf(value, rule))).toEqual([
    Severity.Warning, Severity.Normal, Severity.Normal, Severity.Warning, Severity.Critical, Severity.Normal,
  ]);
  expect(severityOf(1e9, undefined)).toBe(Severity.Normal);
});

it("a machine's state says in words what its colour says", () => {
  const store = new TwinStore();
  const rules = readRules([{ definition: "d", features: { t: { x: { critical_high: 100 } } } }, { definition: 5 }, null]);
  store.apply({ kind: "slots", seq: 1, things: [{ thing: 0, thingId: "a:b", definition: "d", attributes: {}, connection: "live" }], slots: [
    { slot: 0, thing: 0, feature: "t", property: "x", type: "number" },
    { slot: 1, thing: 0, feature: "status", property: "anomaly", type: "boolean" },
  ] }, 0);
  const thing = store.things.get("a:b");
  if (!thing) throw new Error("there");
  expect(stateOf(store, thing, rules).words).toBe("live");
  store.apply({ kind: "columns", seq: 2, timeMs: 0, slot: Uint32Array.of(0, 1), value: Float64Array.of(101, 1), quality: Uint8Array.of(0, 0) }, 0);
  expect(stateOf(store, thing, rules)).toMatchObject({ severity: Severity.Critical, anomaly: true, words: "live, anomaly, critical" });
  thing.connection = "stale";
  expect(stateOf(store, thing, rules)).toMatchObject({ quiet: true, running: false });
});

it("a template says how long its devices may be silent", () => {
  expect(readSilences([{ definition: "d", stale_after_s: 30 }, { definition: "e", stale_after_s: 0 }, { stale_after_s: 5 }, null])).toEqual(new Map([["d", 30]]));
  expect(readSilences({}).size).toBe(0);
});
