// The page against a small server, for what a healthy program never does: vanish, skip a frame, send rubbish.
import { check, openBrowser, openPage, picture, within } from "./browser.mjs";
import { columns, serveOne } from "./mock-server.mjs";

const serve = (port, level, after = () => {}, token = null) =>
  serveOne(port, {
    token,
    subscribed: (socket, next) => {
      if (level === null) return;
      const say = (frame) => socket.send(JSON.stringify({ subscription: 1, seq: next(), offset: 1, ...frame }));
      say({ event: "Slots", more: false, things: [{ thing: 0, thingId: "a:silo-001", attributes: { type: "silo" }, connection: "live" }], slots: [{ slot: 0, thing: 0, feature: "level", property: "level_percent", unit: "%", type: "number" }] });
      socket.send(columns(next(), 0, [[0, level, 0]]));
      after(socket, next);
    },
  });

const browser = await openBrowser();
try {
  let server = await serve(0, 41);
  const { page, complaints } = await openPage(browser, `http://127.0.0.1:${server.port}/`);
  const level = () => page.evaluate("window.egizvision.numbers('a:silo-001', 'level', 'level_percent')[0]");
  await within(20, "a machine without a layout is shown all the same", async () => (await level()) === 41);
  check((await page.locator(".machine").count()) === 1, "the list has it");
  await page.locator(".machine").click();
  await within(5, "the inspector has its value", async () => (await page.locator(".property .value").textContent()) === "41.00");

  await page.waitForTimeout(1500);
  const before = await page.evaluate("window.egizvision.frames");
  await page.waitForTimeout(2000);
  check((await page.evaluate("window.egizvision.frames")) === before, "nothing is drawn while nothing changes");

  const { port } = server;
  server.close();
  await within(10, "a lost connection is shown", async () => (await page.locator(".live").textContent()).startsWith("no connection"));
  await picture(page, "mock-disconnected");
  server = await serve(port, 17);
  await within(20, "the page comes back by itself, with nothing stale", async () => (await level()) === 17);
  server.close();

  let rubbish = 0;
  server = await serve(port, 23, (socket) => {
    if (rubbish++ === 0) socket.send(Buffer.from("rubbish"));
  });
  await within(30, "a frame that cannot be read starts the page afresh", async () => rubbish >= 2 && (await level()) === 23);
  server.close();

  let skips = 0;
  server = await serve(port, 29, (socket, next) => {
    if (skips++ === 0) {
      next();
      socket.send(JSON.stringify({ event: "Bookmark", subscription: 1, seq: next(), offset: 9 }));
    }
  });
  await within(30, "a missing frame starts the page afresh", async () => skips >= 2 && (await level()) === 29);
  server.close();

  server = await serve(port, null);
  await within(30, "an empty plant says what to do", async () => (await page.locator(".notice").textContent()).startsWith("No machines yet"));
  await picture(page, "mock-empty");
  server.close();

  server = await serve(0, 31, undefined, "a token: with = and /");
  await page.goto(`http://127.0.0.1:${server.port}/`);
  await within(20, "who has no token is asked for one", async () => page.locator(".token").isVisible());
  await page.locator(".token input").fill("another one");
  await page.locator(".token button").click();
  await within(10, "a wrong token is called so", async () => (await page.locator(".token p").textContent()).startsWith("This token is not valid"));
  await picture(page, "mock-token");
  await page.locator(".token input").fill("a token: with = and /");
  await page.locator(".token button").click();
  await within(10, "with the token the plant is there", async () => (await level()) === 31 && (await page.locator(".token").isHidden()));
  server.close();
  check(complaints.length === 0, `the page complains about nothing: ${complaints.join("; ")}`);
} finally {
  await browser.close();
}
process.exit(0);
