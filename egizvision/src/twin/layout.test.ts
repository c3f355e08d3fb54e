import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { placeBeside, readLayout, withRoom } from "./layout";

it("reads the demo factory's layout", () => {
  const layout = readLayout(JSON.parse(readFileSync(new URL("../../../configs/factory-layout.json", import.meta.url), "utf8")));
  expect(layout.notices).toEqual([]);
  expect(layout.places.length).toBeGreaterThan(15);
  expect(layout.places[0]).toMatchObject({ thingId: "factory:silo-001", kind: "silo" });
});

it("names a bad entry and loads the rest", () => {
  const layout = readLayout({ equipment: [{ thingId: "a:b" }, { thingId: "a:c", position: { x: 1, z: 2 } }, null] });
  expect(layout.places.map((place) => place.thingId)).toEqual(["a:c"]);
  expect(layout.notices).toHaveLength(2);
  expect(readLayout(null).places).toEqual([]);
});

it("finds a place for a Thing without one", () => {
  const layout = readLayout({});
  const places = [0, 1, 40].map((index) => placeBeside("a:x", "", index, layout));
  expect(new Set(places.map((place) => `${place.x},${place.z}`)).size).toBe(3);
  expect(places.every((place) => place.z > layout.width)).toBe(true);
});

it("puts all machines on a floor of their own where there is no layout", () => {
  for (const machines of [0, 1, 18, 500]) {
    const layout = withRoom(readLayout(null), machines);
    const places = Array.from({ length: machines }, (_, index) => placeBeside("a:x", "", index, layout));
    expect(new Set(places.map((place) => `${place.x},${place.z}`)).size).toBe(machines);
    expect(places.every((place) => place.x < layout.length && place.z < layout.width)).toBe(true);
  }
  const drawn = readLayout({ floor: { length: 60, width: 30 } });
  expect(withRoom(drawn, 500)).toBe(drawn);
});
