import { expect, it } from "vitest";
import { retryDelayMs } from "./reconnect";

it("waits longer with every attempt, but never long", () => {
  expect([0, 1, 2, 5, 50].map((attempt) => retryDelayMs(attempt, 0))).toEqual([500, 1000, 2000, 10_000, 10_000]);
  expect(retryDelayMs(1, 1)).toBe(667);
});
