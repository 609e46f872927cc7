// A headless browser with the sealing page on a phone-sized screen. The job comes as JSON on stdin; its packages are elsewhere.

import { createRequire } from "node:module";

let input = "";
for await (const chunk of process.stdin) input += chunk;
export const job = JSON.parse(input);
export const require = createRequire(`${job.packages}/`);
const { default: puppeteer } = await import(require.resolve("puppeteer-core"));

/** A browser, and how to end it. */
export async function start(args = []) {
  const browser = await puppeteer.launch({
    executablePath: job.program,
    headless: "shell",
    // Nothing but the page under test is shown; the sandbox wants what containers and root do not have.
    args: ["--no-sandbox", "--disable-gpu", "--no-proxy-server", ...args],
    env: { ...process.env, ...job.environment },
    timeout: 60_000,
  });
  // A browser that hangs must not outlive its test.
  const limit = setTimeout(() => browser.process()?.kill("SIGKILL"), 240_000);
  const end = async () => {
    await browser.close();
    clearTimeout(limit);
  };
  return { browser, end };
}

/** A new page, before anything is opened in it. */
export async function blank(browser) {
  const page = await browser.newPage();
  await page.setViewport({ width: 390, height: 844, deviceScaleFactor: 2, isMobile: true, hasTouch: true });
  return page;
}

/** Opens the page, until it has the keys of its server or says why not. */
export async function open(page, url) {
  const response = await page.goto(url, { waitUntil: "load" });
  await page.waitForFunction(
    () => document.querySelector("#key").textContent !== "…" || !document.querySelector("#error").hidden,
    { polling: 20 },
  );
  return response;
}

export const text = (page, selector) => page.$eval(selector, (element) => element.textContent.trim());
export const shown = (page, selector) => page.$eval(selector, (element) => element.checkVisibility());

/** Types whom, and taps on the button. */
export async function type(page, what) {
  await page.$eval("#who", (input) => (input.value = ""));
  await page.type("#who", what);
  await page.tap("button[type=submit]");
  await page.waitForFunction(
    () => [...document.querySelectorAll("#result, #error")].some((element) => element.checkVisibility()),
    { timeout: 60_000 },
  );
  const good = await shown(page, "#result");
  return good ? { address: await page.$eval("#address", (area) => area.value) } : { error: await text(page, "#error") };
}
