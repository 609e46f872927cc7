// Uses the page as a person with a phone does, and tells what happened.

import { readFile } from "node:fs/promises";
import { blank, job, open, require, shown, start, text, type } from "./driver.mjs";

const jsqr = await readFile(require.resolve("jsqr"), "utf8");
const { browser, end } = await start([`--host-resolver-rules=MAP ${job.insecure} 127.0.0.1`]);
const origin = new URL(job.url).origin;
await browser.defaultBrowserContext().setPermission(origin, {
  permission: { name: "clipboard-read" },
  state: "granted",
});

async function phone({ answer, script, url = job.url } = {}) {
  const page = await blank(browser);
  const seen = { requests: [], troubles: [] };
  page.on("request", (request) => seen.requests.push(`${request.method()} ${request.url()}`));
  page.on("console", (message) => seen.troubles.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => seen.troubles.push(String(error)));
  if (script) await page.evaluateOnNewDocument(script);
  if (answer) {
    await page.setRequestInterception(true);
    page.on("request", (request) =>
      !request.url().endsWith("/server_keys") ? request.continue() : answer.abort ? request.abort() : request.respond(answer),
    );
  }
  const response = await open(page, url);
  return { page, seen, response };
}

const picture = (page, name) => page.screenshot({ path: `${job.pictures}/${name}.png`, fullPage: true });

/** By how many pixels anything reaches beyond the side of the screen. */
const overflow = (page) =>
  page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const edges = [...document.querySelectorAll("body *")].map((element) => element.getBoundingClientRect().right);
    return Math.max(document.documentElement.scrollWidth, ...edges) - width;
  });

/** What a phone's camera would make of the code on the screen. */
async function read(page, selector) {
  const shot = await (await page.$(selector)).screenshot({ encoding: "base64" });
  const table = await browser.newPage();
  await table.evaluate(jsqr);
  const found = await table.evaluate(async (shot) => {
    const image = new Image();
    image.src = `data:image/png;base64,${shot}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.width, image.height];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, image.width, image.height);
    return window.jsQR(pixels.data, image.width, image.height)?.data ?? null;
  }, shot);
  await table.close();
  return found;
}

/** The page as it should work. */
async function use() {
  const { page, seen, response } = await phone();
  const report = { status: response.status(), headers: response.headers() };
  report.heading = await text(page, "h1");
  await picture(page, "page-form");
  report.wrong = [];
  for (const what of job.wrong) report.wrong.push((await type(page, what)).error ?? null);
  await picture(page, "page-error");
  report.address = (await type(page, job.right)).address;
  await page.type("#who", "x");
  report.staleIsGone = !(await shown(page, "#result"));
  report.again = (await type(page, job.right)).address;
  report.errorGone = !(await shown(page, "#error"));
  report.sealedTo = await text(page, "#sealed-to");
  report.until = await page.$eval("#until", (time) => Date.parse(time.dateTime));
  await page.tap("#copy");
  await page.waitForFunction(() => document.querySelector("#copy").textContent !== "Copy");
  report.copied = await page.evaluate(() => navigator.clipboard.readText());
  report.copySays = await text(page, "#copy");
  report.qr = await read(page, "#qr svg");
  await page.tap("summary");
  report.key = await text(page, "#key");
  report.serverKey = await text(page, "#server-key");
  report.servers = await page.$$eval(".server", (all) => all.map((element) => element.textContent));
  report.overflow = await overflow(page);
  await picture(page, "page-sealed");
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
  report.qrInTheDark = await read(page, "#qr svg");
  await picture(page, "page-dark");
  await page.setViewport({ width: 320, height: 600, isMobile: true, hasTouch: true });
  report.overflowNarrow = await overflow(page);
  report.qrNarrow = await read(page, "#qr svg");
  await page.close();
  return { ...report, ...seen };
}

/** Sealed for a day, by the keyboard alone. */
async function keyboard() {
  const { page } = await phone();
  await page.focus("#who");
  await page.keyboard.type("bob");
  await page.select("#days", "1");
  await page.focus("#who");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#result:not([hidden])");
  const address = await page.$eval("#address", (area) => area.value);
  await page.close();
  return address;
}

/** Where there is no clipboard, and where nothing helps. */
async function withoutClipboard(script) {
  const { page } = await phone({ script });
  const address = (await type(page, job.right)).address;
  await page.tap("#copy");
  await page.waitForFunction(() => document.querySelector("#copy").textContent !== "Copy");
  const says = await text(page, "#copy");
  const read = await page.evaluate(() => window.reader?.readText() ?? null);
  await page.close();
  return { says, same: read === address };
}

/** What somebody who could write into the page could do. */
async function inject() {
  const { page } = await phone();
  const outcome = await page.evaluate(async (elsewhere) => {
    const broken = [];
    document.addEventListener("securitypolicyviolation", (event) => broken.push(event.effectiveDirective));
    const script = document.createElement("script");
    script.textContent = "window.injected = 'a script'";
    document.body.append(script);
    const foreign = document.createElement("script");
    foreign.src = `${elsewhere}/x.js`;
    document.body.append(foreign);
    const place = document.createElement("div");
    place.innerHTML =
      `<button onclick="window.injected = 'a handler'" style="position: fixed">x</button><img src="${elsewhere}/x.png">` +
      `<iframe src="${elsewhere}/"></iframe><form action="${elsewhere}/" id="away"><input name="who" value="bob"></form>`;
    document.body.append(place);
    place.querySelector("button").click();
    place.querySelector("form").submit();
    const base = document.createElement("base");
    base.href = `${elsewhere}/`;
    document.head.append(base);
    const asked = await fetch(`${elsewhere}/?who=bob`).then(() => "answered", () => "refused");
    await new Promise((done) => setTimeout(done, 300));
    // Only now: what the debugger evaluates directly may evaluate in its turn.
    let evaluated = "refused";
    try {
      evaluated = new Function("return 'evaluated'")();
    } catch {
      // As it should be.
    }
    const styled = getComputedStyle(place.querySelector("button")).position === "fixed";
    return { broken: [...new Set(broken)].sort(), injected: window.injected ?? null, asked, evaluated, styled, base: document.baseURI };
  }, job.elsewhere);
  await page.close();
  return outcome;
}

/** What is said where the page came without TLS, from another machine. */
async function insecure() {
  const url = new URL(job.url);
  url.hostname = job.insecure;
  const { page } = await phone({ url: url.href });
  const said = (await shown(page, "#error")) ? await text(page, "#error") : null;
  await page.close();
  return said;
}

/** Which message answers of the server other than its keys give. */
async function answers() {
  const said = [];
  for (const answer of job.answers) {
    const { page } = await phone({ answer });
    said.push((await shown(page, "#error")) ? await text(page, "#error") : null);
    await page.close();
  }
  return said;
}

try {
  const hide = "window.reader = navigator.clipboard; Object.defineProperty(navigator, 'clipboard', { value: undefined });";
  const report = {
    used: await use(),
    keyboard: await keyboard(),
    oldWay: await withoutClipboard(hide),
    noWay: await withoutClipboard(`${hide} document.execCommand = () => false;`),
    injected: await inject(),
    answers: await answers(),
    insecure: await insecure(),
  };
  process.stdout.write(JSON.stringify(report));
} finally {
  await end();
}
