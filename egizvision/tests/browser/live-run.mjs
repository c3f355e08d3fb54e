// The page against the real program with the simulated factory: EGIZ_URL=http://127.0.0.1:8080 npm run test:live
import { check, openBrowser, openPage, picture, within } from "./browser.mjs";

const base = process.env.EGIZ_URL;
if (!base) throw new Error("EGIZ_URL is not set; it says where the program listens");
const browser = await openBrowser();
try {
  const { page, complaints } = await openPage(browser, base);
  const see = (expression) => page.evaluate(expression);
  await within(60, "values arrive", () => see("window.egizvision.connected && window.egizvision.things >= 18"));
  check(await see("document.querySelector('#stage canvas') && window.egizvision.frames > 0"), "the scene is drawn");

  const rest = async (id) => (await fetch(`${base}/api/v1/things/${id}`)).json();
  await within(20, "the page holds what the API says", async () => {
    const thing = await rest("factory:oven-001");
    const shown = await see("window.egizvision.numbers('factory:oven-001', 'thermal', 'temperature_zones')");
    return JSON.stringify(shown) === JSON.stringify(thing.features.thermal.properties.temperature_zones);
  });
  const first = await see("window.egizvision.numbers('factory:oven-001', 'electrical', 'voltage_l1')[0]");
  await within(20, "values change", async () => (await see("window.egizvision.numbers('factory:oven-001', 'electrical', 'voltage_l1')[0]")) !== first);

  const at = await see("window.egizvision.at('factory:oven-001')");
  const stage = await page.locator("#stage").boundingBox();
  await page.mouse.click(stage.x + at.x, stage.y + at.y);
  await within(5, "a click in the scene opens the machine", () => see("window.egizvision.selected === 'factory:oven-001'"));
  await page.keyboard.press("Escape");
  await page.keyboard.press("/");
  await page.keyboard.type("oven 1");
  await page.keyboard.press("Enter");
  await within(5, "the search opens the oven", () => see("window.egizvision.selected === 'factory:oven-001'"));
  await within(20, "the inspector shows the API's value", async () => {
    const thing = await rest("factory:oven-001");
    const wanted = thing.features.thermal.properties.temperature_zones.map((zone) => zone.toFixed(0)).join(" · ");
    return (await page.locator('[data-property="thermal/temperature_zones"] .value').textContent()) === wanted;
  });
  await page.waitForTimeout(2500);
  await picture(page, "live-inspector");
  await page.locator('[data-property="thermal/temperature_zones"] .open-chart').click();
  await within(20, "its chart has what was before it was opened", async () => (await see("window.egizvision.charted")) >= 3);
  await within(20, "and ends with the API's value", async () => {
    const thing = await rest("factory:oven-001");
    return (await page.locator(".numbers .number").first().textContent()) === thing.features.thermal.properties.temperature_zones[0].toFixed(0);
  });
  await page.waitForTimeout(2500);
  await picture(page, "live-chart");
  await page.keyboard.press("Escape");
  check(await page.locator(".chart").isHidden(), "escape closes the chart");
  await page.setViewportSize({ width: 1920, height: 1080 });
  await page.keyboard.press("Escape");
  await page.waitForTimeout(500);
  await picture(page, "live-overview");
  await page.locator('button[aria-label="Switch between dark and light"]').click();
  await page.setViewportSize({ width: 1180, height: 820 });
  await page.waitForTimeout(500);
  await picture(page, "live-light-tablet");
  check(complaints.length === 0, `the page complains about nothing: ${complaints.join("; ")}`);
} finally {
  await browser.close();
}
