// Starts Debian's Chromium without a network of its own and collects what the page complains about.
import { existsSync, mkdirSync } from "node:fs";
import { chromium } from "playwright-core";

const BINARY = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => existsSync(path));

export async function openBrowser() {
  if (!BINARY) throw new Error("no Chromium: `cargo xtask test` installs it, or install the package chromium");
  mkdirSync(new URL("../../test-results/", import.meta.url), { recursive: true });
  return chromium.launch({
    executablePath: BINARY,
    args: [
      "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
}

export async function openPage(browser, url, size = { width: 1366, height: 768 }) {
  const page = await browser.newPage({ viewport: size, colorScheme: "dark" });
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    // A refused connection is what some tests are about.
    if (message.type() === "error" && !message.text().includes("WebSocket") && !message.text().includes("Failed to load resource")) complaints.push(message.text());
  });
  await page.goto(url);
  return { page, complaints };
}

export const picture = (page, name) => page.screenshot({ path: new URL(`../../test-results/${name}.png`, import.meta.url).pathname });

export function check(condition, what) {
  if (!condition) throw new Error(`not so: ${what}`);
  console.log(`ok  ${what}`);
}

export async function within(seconds, what, condition) {
  const until = Date.now() + seconds * 1000;
  let last;
  while (Date.now() < until) {
    last = await condition();
    if (last) return check(true, what);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`not within ${seconds} s: ${what} (last: ${JSON.stringify(last)})`);
}
