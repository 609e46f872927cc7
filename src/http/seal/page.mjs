// What happens on the sealing page. The name that is typed never leaves the browser.

import { renderSVG } from "uqr";
import { SealError, fingerprint, fromBase64, localpart, seal, sealingKey } from "./sealing.mjs";

const DAY = 24 * 60 * 60 * 1000;
const element = (id) => document.getElementById(id);

/** What was said before is no answer to what is asked now. */
function clear() {
  element("result").hidden = true;
  element("error").hidden = true;
}

function fail(error) {
  clear();
  element("error").textContent =
    error instanceof SealError ? error.message : "That did not work: " + (error?.message ?? error);
  element("error").hidden = false;
}

async function keys() {
  if (!globalThis.crypto?.subtle) throw new SealError("Browsers encrypt only where the address begins with https://");
  let answer;
  try {
    answer = await fetch("seal/server_keys", { cache: "no-store", credentials: "omit", redirect: "error" });
  } catch {
    throw new SealError("This server cannot be reached. Is this device online?");
  }
  if (!answer.ok) throw new SealError(`This server does not answer with its keys (${answer.status}). Try again later.`);
  // What is no JSON is refused like any other answer that is no key document.
  return answer.json().catch(() => null);
}

async function describe(published) {
  const key = await sealingKey(published, Date.now());
  const server = published.server_name;
  for (const place of document.querySelectorAll(".server")) place.textContent = server;
  element("who").placeholder = `@name:${server}`;
  element("key").textContent = `${key.name}, ${await fingerprint(key.key)}`;
  const names = Object.entries(published.verify_keys ?? {});
  const prints = await Promise.all(
    names.map(async ([name, entry]) => `${name}, ${await fingerprint(fromBase64(entry.key))}`),
  );
  element("server-key").textContent = prints.join("; ");
  return key;
}

async function submit(event) {
  event.preventDefault();
  clear();
  try {
    // Fetched anew: the page may have stood open for weeks.
    const published = await keys();
    const key = await describe(published);
    const server = published.server_name;
    const name = localpart(element("who").value, server);
    const wished = Date.now() + Number(element("days").value) * DAY;
    const expires = Math.min(wished, key.expires);
    const text = await seal({ server, key, name, expires });
    element("address").value = text;
    element("sealed-to").textContent = element("key").textContent;
    element("until").textContent = new Date(expires).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    element("until").dateTime = new Date(expires).toISOString();
    element("qr").innerHTML = renderSVG(text, { ecc: "L", border: 4 });
    element("qr").querySelector("svg").setAttribute("role", "img");
    element("qr").querySelector("svg").setAttribute("aria-label", "The sealed address as a QR code");
    element("copy").textContent = "Copy";
    element("result").hidden = false;
    element("address").focus();
    element("address").select();
    element("address").scrollTop = 0;
  } catch (error) {
    fail(error);
  }
}

async function copy() {
  const address = element("address");
  let copied = true;
  try {
    await navigator.clipboard.writeText(address.value);
  } catch {
    // Without TLS or permission there is no clipboard; the old way still works.
    address.focus();
    address.select();
    copied = document.execCommand("copy");
  }
  element("copy").textContent = copied ? "Copied" : "Not copied: do it by hand";
}

element("form").addEventListener("submit", submit);
element("form").addEventListener("input", clear);
element("copy").addEventListener("click", copy);
keys().then(describe).catch(fail);
