import { expect, it } from "vitest";
import { sparkline } from "./inspector";

it("a sparkline fills its box and needs two values", () => {
  expect(sparkline({ at: [1], value: [5] })).toBe("");
  expect(sparkline({ at: [0, 5, 10], value: [1, 3, 2] })).toBe("0.0,22.0 50.0,2.0 100.0,12.0");
  expect(sparkline({ at: [0, 1], value: [4, 4] })).toBe("0.0,12.0 100.0,12.0");
});
