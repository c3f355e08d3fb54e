// A server that hands out the built client, answers the API as it is told, and lets a test say what comes over the socket.
import { createServer } from "node:http";
import { existsSync, readFileSync } from "node:fs";
import { extname } from "node:path";
import { WebSocketServer } from "ws";

const dist = new URL("../../dist", import.meta.url).pathname;
if (!existsSync(`${dist}/index.html`)) throw new Error("the client is not built: npm run build");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };
/** As the program sends it. */
const POLICY = "default-src 'self'; img-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/**
 * `subscribed(socket, next)` is called for each subscription, with what gives the next sequence number; `api(path, query)`
 * gives `[status, json]` or nothing; with `token` nobody gets in without.
 */
export function serveOne(port, { subscribed, api = () => undefined, token = null }) {
  const http = createServer((request, response) => {
    const url = new URL(request.url, "http://mock");
    if (url.pathname.startsWith("/api/")) {
      if (token && request.headers.authorization !== `Bearer ${token}`) return response.writeHead(401).end();
      const answer = url.pathname === "/api/v1/tickets" ? [201, { ticket: "once", expiresInS: 30 }] : api(url.pathname, url.searchParams);
      if (!answer) return response.writeHead(404).end();
      return response.writeHead(answer[0], { "content-type": "application/json" }).end(JSON.stringify(answer[1]));
    }
    const file = dist + (url.pathname === "/" ? "/index.html" : url.pathname);
    if (!existsSync(file)) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream", "content-security-policy": POLICY }).end(readFileSync(file));
  });
  const sockets = new WebSocketServer({ server: http, path: "/api/v1/ws", handleProtocols: () => "openegiz.v1", verifyClient: ({ req }) => !token || req.url.endsWith("?ticket=once") });
  sockets.on("connection", (socket) => {
    socket.on("message", () => {
      let seq = 0;
      socket.send(JSON.stringify({ id: 1, ok: true, subscription: 1, offset: 1 }));
      subscribed(socket, () => ++seq);
    });
  });
  const close = () => {
    sockets.clients.forEach((client) => client.terminate());
    http.close();
    http.closeAllConnections();
  };
  return new Promise((resolve) => http.listen(port, "127.0.0.1", () => resolve({ port: http.address().port, close })));
}

/** A binary frame of `[slot, value, quality]`. */
export function columns(seq, timeMs, entries) {
  const valuesAt = (40 + 4 * entries.length + 7) & ~7;
  const bytes = Buffer.alloc(valuesAt + 9 * entries.length);
  bytes.write("EGC1");
  bytes.writeUInt32LE(1, 4);
  bytes.writeBigUInt64LE(BigInt(seq), 8);
  bytes.writeBigInt64LE(BigInt(timeMs) * 1000n, 24);
  bytes.writeUInt32LE(entries.length, 32);
  entries.forEach(([slot, value, quality], index) => {
    bytes.writeUInt32LE(slot, 40 + 4 * index);
    bytes.writeDoubleLE(value, valuesAt + 8 * index);
    bytes.writeUInt8(quality, valuesAt + 8 * entries.length + index);
  });
  return bytes;
}
