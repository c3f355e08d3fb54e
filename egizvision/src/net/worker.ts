/**
 * The socket, off the main thread: connects, subscribes to everything as binary columns, checks that no frame is missing,
 * decodes, and hands frames over. Reconnects by itself and starts afresh: after every (re)connection the first thing that
 * the page gets is `open`, upon which it forgets what it knew. A token is traded for a ticket each time; where one is needed
 * and there is none, or it is not valid, the page is told, and the next is waited for.
 */
import { readColumns, readText, type Frame } from "./frames";
import { retryDelayMs } from "./reconnect";

/** What the page is told. */
export type FromWorker =
  | { kind: "open" }
  | { kind: "closed"; retryAtMs: number }
  | { kind: "token-needed" }
  | { kind: "frames"; frames: Frame[] };

/** What the worker is told: where to connect, and with which token. */
export interface ToWorker {
  origin: string;
  token: string | null;
}

const scope = self as unknown as DedicatedWorkerGlobalScope;
let attempt = 0;
let target: ToWorker = { origin: "", token: null };
let retry: ReturnType<typeof setTimeout> | undefined;

function tell(message: FromWorker): void {
  scope.postMessage(message);
}

/** The status of a request to the API, and its JSON; 0 where there is no answer. */
async function ask(path: string, method: string): Promise<{ status: number; json: unknown }> {
  const headers: Record<string, string> = target.token ? { authorization: `Bearer ${target.token}` } : {};
  try {
    const answer = await fetch(`${target.origin}/api/v1/${path}`, { method, headers });
    return { status: answer.status, json: await answer.json().catch(() => null) };
  } catch {
    return { status: 0, json: null };
  }
}

function later(): void {
  const delay = retryDelayMs(attempt, Math.random());
  attempt += 1;
  tell({ kind: "closed", retryAtMs: Date.now() + delay });
  retry = setTimeout(() => void connect(), delay);
}

async function connect(): Promise<void> {
  let query = "";
  if (target.token) {
    const { status, json } = await ask("tickets", "POST");
    if (status === 401) return tell({ kind: "token-needed" });
    const ticket = (json as { ticket?: unknown } | null)?.ticket;
    if (typeof ticket !== "string") return later();
    query = `?ticket=${encodeURIComponent(ticket)}`;
  }
  let opened = false;
  const socket = new WebSocket(`${target.origin.replace(/^http/, "ws")}/api/v1/ws${query}`, "openegiz.v1");
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
    opened = true;
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
    // A browser does not say why a socket was refused; a request is answered.
    if (opened || target.token) return later();
    void ask("things/count", "GET").then(({ status }) => (status === 401 ? tell({ kind: "token-needed" }) : later()));
  };
}

scope.onmessage = (event: MessageEvent<ToWorker>) => {
  clearTimeout(retry);
  target = event.data;
  void connect();
};
