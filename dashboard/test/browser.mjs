// Drives the page in a real browser against the fixture that api/browser_test.go serves:
//   node test/browser.mjs http://127.0.0.1:PORT [directory for screenshots]
// The address /next makes the fixture live with another configuration.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const [base, shots] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  const faults = [];
  page.on("pageerror", (e) => faults.push(String(e)));
  page.on("console", (m) => m.type() === "error" && faults.push(m.text()));
  const shot = async (name) => { if (shots) await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true }); };
  const sees = (text) => page.getByText(text, { exact: false }).first().waitFor({ timeout: 5000 });
  const open = (hash) => page.evaluate((h) => { location.hash = h; }, hash);

  await page.goto(`${base}/`); // leads to /dashboard/
  assert.equal(new URL(page.url()).pathname.endsWith("/dashboard/"), true);
  await sees("HTTP routers");
  await page.getByRole("status").getByText("live").waitFor();
  assert.equal(await page.locator(".card", { hasText: "HTTP routers" }).locator("strong").innerText(), "7");
  assert.equal(await page.locator(".card", { hasText: "Problems" }).locator("strong").innerText(), "2");
  await page.locator(".chart canvas").waitFor();
  await sees("no_router");
  await page.waitForTimeout(2500); // two samples for the chart
  await shot("overview");

  await page.getByRole("link", { name: "Routers", exact: true }).click();
  await sees("shop-admin@file");
  await sees("service not found");
  await shot("routers");
  await page.getByRole("searchbox").fill("blog");
  await page.locator("tbody tr").nth(1).waitFor({ state: "detached" });
  assert.equal(await page.locator("tbody tr").count(), 1);
  await page.getByRole("button", { name: "Details of blog@file" }).click();
  await page.locator("pre", { hasText: '"priority": 17' }).waitFor();
  await page.getByRole("searchbox").fill("");
  await page.getByRole("combobox", { name: "Status" }).selectOption("disabled");
  await page.getByText("shop-admin@file").waitFor({ state: "detached" });
  await sees("lost@file");
  await page.getByRole("link", { name: "TCP", exact: true }).click();
  await sees("named@file");

  await open("#/routers?search=shop@file");
  await page.getByRole("link", { name: "cart@file" }).click();
  await sees("http://10.0.0.2:80");
  assert.equal(await page.locator("li", { hasText: "http://10.0.0.1:80" }).locator(".badge").innerText(), "● up");
  assert.equal(await page.locator("li", { hasText: "http://10.0.0.2:80" }).locator(".badge").innerText(), "■ down");
  await open("#/services");
  await sees("spread@file");
  await shot("services");

  await open("#/middlewares");
  await sees("basicauth");
  await open("#/entrypoints");
  await sees(":80");
  await shot("entrypoints");
  await open("#/problems");
  await sees("service ghost@file is not there");
  await sees("rule");
  await shot("problems");
  await open("#/explain");
  await page.getByRole("textbox", { name: "Address" }).fill("http://lost.test/x");
  await page.getByRole("button", { name: "Explain" }).click();
  await sees("no_router");
  await sees("Host(`shop.test`)");
  await shot("explain");

  // A new configuration appears without a reload.
  await open("#/routers");
  await sees("shop@file");
  await fetch(`${base}/next`, { method: "POST" });
  await sees("new@docker");

  // Everything can be reached by keyboard, and the page has its landmarks.
  await page.keyboard.press("Tab");
  for (const role of ["banner", "main", "contentinfo"]) assert.equal(await page.getByRole(role).count(), 1, role);
  assert.equal(await page.getByRole("heading", { level: 1 }).count(), 1);

  await page.getByRole("combobox", { name: "Theme" }).selectOption("dark");
  const background = (page, want) => page.waitForFunction(
    (w) => getComputedStyle(document.body).backgroundColor === w, want, { timeout: 5000 });
  await background(page, "rgb(18, 23, 26)");
  await open("#/overview");
  await sees("HTTP routers");
  await shot("overview-dark");
  await page.getByRole("combobox", { name: "Theme" }).selectOption("light");
  await background(page, "rgb(246, 247, 248)");
  await page.setViewportSize({ width: 400, height: 800 });
  // The page is no wider than a phone.
  await page.waitForFunction(() => document.documentElement.scrollWidth <= innerWidth, null, { timeout: 5000 });
  await shot("phone");
  assert.deepEqual(faults, []);
} finally {
  await browser.close();
}
