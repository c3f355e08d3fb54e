import { describe, expect, it } from "vitest";
import { readColumns, readText } from "./frames";

/** The example of docs/api/websocket.md, byte by byte. */
function golden(): ArrayBuffer {
  const bytes = new ArrayBuffer(40 + 8 + 16 + 2);
  const view = new DataView(bytes);
  "EGC1".split("").forEach((letter, index) => view.setUint8(index, letter.charCodeAt(0)));
  view.setUint32(4, 1, true);
  view.setBigUint64(8, 7n, true);
  view.setBigUint64(16, 1240n, true);
  view.setBigInt64(24, 1_795_427_998_500_000n, true);
  view.setUint32(32, 2, true);
  view.setUint32(40, 0, true);
  view.setUint32(44, 9, true);
  view.setFloat64(48, 195.5, true);
  view.setFloat64(56, 1, true);
  view.setUint8(64, 0);
  view.setUint8(65, 5);
  return bytes;
}

describe("column frames", () => {
  it("are read as they are laid out", () => {
    const frame = readColumns(golden());
    expect(frame).toMatchObject({ kind: "columns", seq: 7, timeMs: 1_795_427_998_500 });
    if (!("kind" in frame) || frame.kind !== "columns") throw new Error("columns");
    expect([...frame.slot]).toEqual([0, 9]);
    expect([...frame.value]).toEqual([195.5, 1]);
    expect([...frame.quality]).toEqual([0, 5]);
  });

  it("give an error wherever they are cut", () => {
    const whole = golden();
    for (let end = 0; end < whole.byteLength; end++) expect(readColumns(whole.slice(0, end))).toHaveProperty("error");
    const wrong = golden();
    new DataView(wrong).setUint32(32, 0xffff_ffff, true);
    expect(readColumns(wrong)).toHaveProperty("error");
  });
});

describe("text frames", () => {
  it("become what they say", () => {
    const slots = readText(
      '{"event":"Slots","subscription":1,"seq":1,"offset":3,"things":[{"thing":0,"thingId":"a:b","attributes":{"type":"oven"},"connection":"live"}],"slots":[{"slot":0,"thing":0,"feature":"f","property":"p","index":1,"unit":"°C","type":"number"}]}',
    );
    expect(slots).toMatchObject({ kind: "slots", seq: 1, slots: [{ feature: "f", index: 1, unit: "°C" }] });
    expect(readText('{"event":"Resync","seq":4}')).toEqual({ kind: "resync", seq: 4 });
    expect(readText('{"id":1,"ok":false,"problem":{"detail":"no"}}')).toEqual({ kind: "answer", ok: false, detail: "no" });
    expect(readText('{"event":"FromTheFuture","seq":5}')).toEqual({ kind: "other", seq: 5 });
  });

  it("give an error or leave out what is malformed", () => {
    expect(readText("{")).toHaveProperty("error");
    expect(readText("[]")).toHaveProperty("error");
    expect(readText('{"event":"Slots","seq":1,"things":[5,{"thing":"x"}],"slots":[{"slot":0}]}')).toMatchObject({ things: [], slots: [] });
  });
});
