import { expect, it } from "vitest";
import { TwinStore } from "./store";

function filled(): TwinStore {
  const store = new TwinStore();
  store.apply(
    {
      kind: "slots",
      seq: 1,
      things: [{ thing: 0, thingId: "a:oven", attributes: { type: "oven" }, connection: "live" }],
      slots: [
        { slot: 0, thing: 0, feature: "thermal", property: "zones", index: 0, unit: "°C", type: "number" },
        { slot: 1, thing: 0, feature: "thermal", property: "zones", index: 1, unit: "°C", type: "number" },
        { slot: 2, thing: 0, feature: "process", property: "state", type: "text" },
        { slot: 5000, thing: 0, feature: "status", property: "anomaly", type: "boolean" },
      ],
    },
    0,
  );
  return store;
}

it("files values by slot and shows them with their unit's digits", () => {
  const store = filled();
  store.apply({ kind: "columns", seq: 2, timeMs: 1, slot: Uint32Array.of(0, 1, 5000), value: Float64Array.of(195.25, NaN, 1), quality: Uint8Array.of(0, 2, 0) }, 10);
  store.apply({ kind: "texts", seq: 3, texts: [[2, "heating", 0]] }, 11);
  const thing = store.things.get("a:oven");
  if (!thing) throw new Error("there");
  const shown = [...thing.properties.values()].map((property) => `${property.property} ${store.shown(property, 1)} ${property.unit}`.trim());
  expect(shown).toEqual(["zones 195.3 · – °C", "state heating", "anomaly yes"]);
  expect(store.numbers(thing, "thermal", "zones")).toEqual([195.25, NaN]);
  const zones = thing.properties.get("thermal/zones");
  if (!zones) throw new Error("there");
  expect(store.qualityOf(zones)).toBe(2);
  expect(store.changedAtMs(zones)).toBe(10);
  expect(thing.heardMs).toBe(1);
  expect(store.history(zones)).toEqual({ at: [10], value: [195.25] });
  expect([...store.changedThings]).toEqual(["a:oven"]);
});

it("follows connection, head and removal, and ignores slots nobody named", () => {
  const store = filled();
  store.apply({ kind: "connection", seq: 2, thingId: "a:oven", connection: "stale" }, 1);
  store.apply({ kind: "modified", seq: 3, thingId: "a:oven", attributes: { type: "fryer" } }, 1);
  store.apply({ kind: "columns", seq: 4, timeMs: 1, slot: Uint32Array.of(77), value: Float64Array.of(1), quality: Uint8Array.of(0) }, 1);
  expect(store.things.get("a:oven")).toMatchObject({ connection: "stale", attributes: { type: "fryer" } });
  store.apply({ kind: "gone", seq: 5, thingId: "a:oven" }, 1);
  expect(store.things.size).toBe(0);
});
