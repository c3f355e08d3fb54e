// The chart of a property, against a server whose memory and stream are in this file's hands.
import { check, openBrowser, openPage, picture, within } from "./browser.mjs";
import { columns, serveOne } from "./mock-server.mjs";

const MINUTE_MS = 60_000;
const TEMPLATES = { items: [{ definition: "a:oven:1.0.0", stale_after_s: 20, features: { thermal: { zones: { title: "Zone temperature", unit: "°C", decimals: 1, warning_high: 215, critical_high: 900 } } } }] };
const THING = { thing: 0, thingId: "a:oven-001", definition: "a:oven:1.0.0", attributes: { type: "oven" }, connection: "live" };
const OTHER = { ...THING, thing: 1, thingId: "a:oven-002" };
const SLOTS = [
  ...[0, 1, 2, 3, 4, 5].map((index) => ({ slot: index, thing: 0, feature: "thermal", property: "zones", index, unit: "°C", type: "number" })),
  { slot: 6, thing: 0, feature: "process", property: "state", type: "text" },
];

/** What was asked for, newest last. */
const asked = [];
/** How history is answered: `(query) => [status, json]`. */
let history = () => samples([]);
/** Sends values to whoever is subscribed. */
let send = () => {};

const samples = (points) => [200, { thingId: THING.thingId, properties: [{ feature: "thermal", property: "zones", item: 0, unit: "°C", known: points.length > 0, samples: points.map(([at, value]) => ({ time: new Date(at).toISOString(), value })) }] }];

const serve = (port) =>
  serveOne(port, {
    api: (path, query) => {
      if (path === "/api/v1/templates") return [200, TEMPLATES];
      if (!path.endsWith("/history")) return undefined;
      asked.push(Object.fromEntries(query));
      return history(query);
    },
    subscribed: (socket, next) => {
      socket.send(JSON.stringify({ event: "Slots", subscription: 1, seq: next(), offset: 1, more: false, things: [THING, OTHER], slots: SLOTS }));
      send = (entries, atMs = Date.now()) => socket.send(columns(next(), atMs, entries));
      send([200, 150, 160, 170, 180, 190].map((value, slot) => [slot, value, 0]));
    },
  });

const browser = await openBrowser();
try {
  let server = await serve(0);
  const { page, complaints } = await openPage(browser, "about:blank");
  const scripts = [];
  page.on("request", (request) => scripts.push(new URL(request.url()).pathname));
  await page.goto(`http://127.0.0.1:${server.port}/`);
  const text = (selector) => page.locator(selector).textContent();
  const number = (name) => text(`.numbers > div:nth-child(${{ now: 1, min: 2, max: 3 }[name]}) .number`);
  const points = () => page.evaluate("window.egizvision.charted");
  const opener = page.locator('[data-property="thermal/zones"] .open-chart');
  /** Per column of the plot's pixels, whether the line is there: nothing else in the plot has its colour. */
  const drawn = () =>
    page.evaluate(() => {
      const canvas = document.querySelector(".plot canvas");
      const [red, green, blue] = getComputedStyle(document.body).color.match(/\d+/g).map(Number);
      const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return Array.from({ length: width }, (_, x) => {
        for (let y = 0; y < height; y++) {
          const at = 4 * (y * width + x);
          if (data[at + 3] > 150 && Math.abs(data[at] - red) + Math.abs(data[at + 1] - green) + Math.abs(data[at + 2] - blue) < 60) return 1;
        }
        return 0;
      }).join("");
    });
  /** What would be wrong with the layout: parts that are cut off, or reach out of the window. */
  const misplaced = () =>
    page.evaluate(() => {
      const chart = document.querySelector(".chart");
      const wrong = [...chart.querySelectorAll("h2, button, select, span, p, .plot")].filter((part) => {
        const box = part.getBoundingClientRect();
        return box.width > 0 && (part.scrollWidth > part.clientWidth + 1 && part.clientWidth > 0 || box.right > innerWidth || box.bottom > innerHeight || box.top < chart.getBoundingClientRect().top);
      });
      if (chart.scrollHeight > chart.clientHeight) wrong.push(chart);
      for (const row of document.querySelectorAll(".property")) {
        const [name, value, opener] = [".name", ".value", ".open-chart"].map((part) => row.querySelector(part)?.getBoundingClientRect());
        if (name.right > value.left + 1 || (opener && (name.right > opener.right || name.left < opener.left))) wrong.push(row);
      }
      return wrong.map((part) => `${part.tagName} ${part.className} ${part.textContent}`);
    });

  await within(20, "the machines are there", async () => (await page.locator(".machine").count()) === 2);
  await page.locator(".machine").first().click();
  check(!scripts.some((path) => path.includes("plot")), "the chart's code is not loaded before somebody wants a chart");
  check((await page.locator('[data-property="process/state"] .open-chart').count()) === 0, "a text has no chart");

  await opener.focus();
  await page.keyboard.press("Enter");
  await within(10, "the keyboard opens a chart", async () => page.locator(".plot canvas").isVisible());
  const [first] = asked;
  check(first.property === "thermal/zones/0" && first.hold === "20s", "it asks for one item, with the silence that the template allows");
  check(Number(first.width) > 250 && Number(first.width) < 400, "as many points as there are pixels are asked for");
  check(Math.abs(Date.now() - 15 * MINUTE_MS - Number(first.from)) < 20_000, "a quarter of an hour is asked for");
  check((await text(".chart h2")) === "Zone temperature (°C)", "it says what and in which unit");
  await within(5, "without history it says so", async () => (await text(".message")) === "no history yet");
  await picture(page, "chart-empty");

  send([[0, 201, 0]]);
  await within(5, "a value that arrives is in it", async () => (await points()) === 1 && (await number("now")) === "201.0");
  check(asked.length === 1, "nothing is asked for again while values arrive");
  send([[1, 333, 0]]);
  await page.waitForTimeout(300);
  check((await number("max")) === "201.0", "another item's value is not in it");

  // A quarter of an hour with five minutes missing in the middle.
  history = () => samples([...minutes(-14, -9), [Date.now() - 9 * MINUTE_MS + 1000, null], ...minutes(-4, -0.2)]);
  await page.locator('.windows button[data-ms="3600000"]').click();
  await page.locator('.windows button[data-ms="900000"]').click();
  await within(5, "the past is there", async () => (await points()) > 100 && (await number("max")) === "210.0" && (await number("min")) === "190.0");
  await within(5, "a gap is a gap", async () => /1{60,}0{60,}1{60,}/.test(await drawn()));
  check((await text(".limits")).includes("warning above 215 °C"), "limits are told in words");
  await picture(page, "chart-gap");

  await page.keyboard.press("Tab");
  await page.locator(".plot").focus();
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowLeft");
  await within(5, "the keyboard goes from value to value", async () => /^\d\d:\d\d:\d\d {3}\d+\.\d °C$/.test(await text(".readout")));
  const last = await text(".readout");
  await page.keyboard.press("PageUp");
  check((await text(".readout")) < last, "and back in time by more");
  await page.keyboard.press("Home");
  check((await page.locator(".plot").getAttribute("aria-valuetext")) === (await text(".readout")), "a screen reader gets the same");
  const box = await page.locator(".plot .u-over").boundingBox();
  await page.mouse.move(box.x + box.width / 2 - 80, box.y + 40);
  await within(5, "the mouse shows time and value", async () => /^\d\d:\d\d:\d\d {3}(19|20|21)\d\.\d °C$/.test(await text(".readout")));
  for (const [width, height] of [[1366, 768], [1920, 1080], [1180, 820], [900, 700]]) {
    await page.setViewportSize({ width, height });
    await page.waitForTimeout(400);
    check((await misplaced()).length === 0, `nothing is cut off at ${width} × ${height}: ${await misplaced()}`);
  }
  await page.setViewportSize({ width: 1366, height: 768 });
  await page.locator('button[aria-label="Switch between dark and light"]').click();
  await within(5, "the line is drawn in the other theme's colour", async () => /1{60,}0{60,}1{60,}/.test(await drawn()));
  await picture(page, "chart-light");
  await page.locator('button[aria-label="Switch between dark and light"]').click();

  const before = asked.length;
  for (let round = 0; round < 40; round++) {
    for (let index = 0; index < 100; index++) send([[0, 195 + (index % 10), 0]]);
    await page.waitForTimeout(20);
  }
  send([[0, 207, 0]]);
  await within(10, "a storm of values arrives", async () => (await number("now")) === "207.0");
  check((await points()) < 6 * 330 && asked.length === before, "and neither points nor questions grow with it");

  send([[0, 207, 4]]);
  await within(5, "what a silent device said last is not now", async () => (await text(".numbers > div:first-child .meta")) === "last");
  send([[0, 206, 0]]);

  const { port } = server;
  server.close();
  await within(10, "a lost connection is said in the chart", async () => (await text(".problem")).startsWith("No connection"));
  await picture(page, "chart-disconnected");
  history = () => samples([...minutes(-14, -0.2), [Date.now() - 1000, 213]]);
  server = await serve(port);
  await within(20, "after it what was missed is filled in", async () => asked.length === before + 1 && (await number("max")) === "213.0" && (await text(".problem")) === "");
  check(/1{200,}/.test(await drawn()), "without a gap");

  let refusals = 0;
  history = () => (refusals++ < 2 ? [503, { code: "overloaded" }] : samples([[Date.now() - 2000, 177]]));
  await page.locator(".chart select").selectOption("1");
  await within(5, "an overloaded server is said so", async () => (await text(".problem")).startsWith("History could not be loaded"));
  await within(10, "and asked again", async () => (await number("min")) === "177.0" && (await text(".problem")) === "");
  check(asked.at(-1).property === "thermal/zones/1", "another item of the list is another line");

  history = () => [404, { code: "history-off" }];
  await page.locator('.windows button[data-ms="604800000"]').click();
  await within(5, "that no history is kept is said", async () => (await text(".problem")).startsWith("This installation keeps no history"));
  await page.locator(".plot").focus();
  await page.keyboard.press("Escape");
  await within(5, "escape closes the chart", async () => page.locator(".chart").isHidden());
  check((await page.evaluate("window.egizvision.selected")) === "a:oven-001", "and not the machine");
  check(await opener.evaluate((node) => node === document.activeElement), "and the focus is where it was");
  check((await page.locator(".plot canvas").count()) === 0 && (await points()) === 0, "nothing of it stays");
  await opener.click();
  await within(5, "where no history is kept it is empty at first", async () => (await text(".message")) === "nothing has arrived yet");
  send([[0, 188, 0]]);
  await within(5, "and shows what comes", async () => (await number("now")) === "188.0" && (await points()) === 1);
  await picture(page, "chart-off");
  await page.locator(".machine").last().click();
  check(await page.locator(".chart").isHidden(), "another machine closes the chart");
  check(await page.locator(".machine").last().evaluate((node) => node === document.activeElement), "and leaves the focus where it is");
  await page.locator(".machine").first().click();
  await opener.click();
  await page.locator(".inspector-body .close").click();
  check((await page.locator("#inspector").isHidden()) && (await points()) === 0, "with the machine its chart is closed");
  server.close();
  check(complaints.length === 0, `the page complains about nothing: ${complaints.join("; ")}`);
} finally {
  await browser.close();
}
process.exit(0);

/** A value every two seconds, up and down between 190 and 210. */
function minutes(from, to) {
  const points = [];
  for (let at = from * MINUTE_MS; at <= to * MINUTE_MS; at += 2000) points.push([Date.now() + at, points.length % 2 === 0 ? 190 : 210]);
  return points;
}
