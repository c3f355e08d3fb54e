/**
 * The socket, off the main thread: connects, subscribes to everything as binary columns, checks that no frame is missing,
 * decodes, and hands frames over. Reconnects by itself and starts afresh: after every (re)connection the first thing that
 * the page gets is `open`, upon which it forgets what it knew.
 */
import { readColumns, readText, type Frame } from "./frames";
import { retryDelayMs } from "./reconnect";

/** What the page is told. */
export type FromWorker =
  | { kind: "open" }
  | { kind: "closed"; retryAtMs: number }
  | { kind: "frames"; frames: Frame[] };

const scope = self as unknown as DedicatedWorkerGlobalScope;
let attempt = 0;

function tell(message: FromWorker): void {
  scope.postMessage(message);
}

function connect(url: string): void {
  const socket = new WebSocket(url, "openegiz.v1");
  socket.binaryType = "arraybuffer";
  let seq = 0;
  let waiting: Frame[] = [];
  let scheduled = false;

  const hand = (frame: Frame): void => {
    waiting.push(frame);
    if (scheduled) return;
    scheduled = true;
    // One message to the page for whatever arrives in this turn.
    setTimeout(() => {
      scheduled = false;
      tell({ kind: "frames", frames: waiting });
      waiting = [];
    }, 0);
  };

  socket.onopen = () => {
    attempt = 0;
    tell({ kind: "open" });
    socket.send(JSON.stringify({ id: 1, action: "subscribe", format: "columns-binary", tickMs: 100 }));
  };
  socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
    const frame = typeof event.data === "string" ? readText(event.data) : readColumns(event.data);
    if ("error" in frame) {
      // What cannot be read may be missing later: begin anew.
      socket.close(4000, frame.error);
      return;
    }
    if (frame.kind === "answer") {
      if (!frame.ok) socket.close(4000, "the subscription was refused");
      return;
    }
    if (frame.seq !== null) {
      if (frame.seq !== seq + 1) {
        socket.close(4000, "a frame is missing");
        return;
      }
      seq = frame.seq;
    }
    hand(frame);
  };
  socket.onclose = () => {
    const delay = retryDelayMs(attempt, Math.random());
    attempt += 1;
    tell({ kind: "closed", retryAtMs: Date.now() + delay });
    setTimeout(() => connect(url), delay);
  };
}

scope.onmessage = (event: MessageEvent<{ url: string }>) => connect(event.data.url);
