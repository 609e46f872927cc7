// Lets the browser decode files: each as it was and as it is without metadata. What it makes of one is told by numbers.

import { blank, job, start } from "./driver.mjs";

const { browser, end } = await start(["--autoplay-policy=no-user-gesture-required"]);

/** In the page. */
async function decode({ type, base64 }) {
  /** FNV-1a, of bytes. */
  const hash = (buffer) => {
    let sum = 0x811c9dc5;
    for (const byte of new Uint8Array(buffer)) sum = Math.imul(sum ^ byte, 0x01000193);
    return sum >>> 0;
  };
  const pixels = (what, width, height) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    context.drawImage(what, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    // Of a picture that is all one colour, nothing could be told.
    const colours = new Set(new Uint32Array(data.buffer)).size;
    return { colours, hash: hash(data.buffer) };
  };
  const event = (element, name) =>
    new Promise((done, failed) => {
      element.addEventListener(name, done, { once: true });
      element.addEventListener("error", () => failed(element.error), { once: true });
    });
  const url = `data:${type};base64,${base64}`;
  if (type.startsWith("image/")) {
    const image = new Image();
    image.src = url;
    await image.decode();
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    return { width, height, pixels: pixels(image, width, height) };
  }
  const element = document.createElement(type.startsWith("video/") ? "video" : "audio");
  element.muted = true;
  const loaded = event(element, "loadedmetadata");
  element.src = url;
  await loaded;
  const found = { duration: element.duration, width: element.videoWidth ?? 0, height: element.videoHeight ?? 0 };
  if (found.width > 0) {
    found.frames = [];
    for (const part of [0.1, 0.5, 0.9]) {
      const sought = event(element, "seeked");
      element.currentTime = found.duration * part;
      await sought;
      found.frames.push(pixels(element, found.width, found.height));
    }
  }
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const sound = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(bytes.buffer);
  found.sound = { samples: sound.length, channels: sound.numberOfChannels, hash: hash(sound.getChannelData(0).slice().buffer) };
  return found;
}

try {
  const page = await blank(browser);
  const report = [];
  for (const file of job.files) {
    const result = [];
    for (const base64 of [file.original, file.cleaned]) {
      const limit = new Promise((done) => setTimeout(done, 20_000, { error: "no end" }));
      const decoded = page.evaluate(decode, { type: file.type, base64 }).catch((error) => ({ error: String(error) }));
      result.push(await Promise.race([decoded, limit]));
    }
    report.push(result);
  }
  process.stdout.write(JSON.stringify(report));
} finally {
  await end();
}
