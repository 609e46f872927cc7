// Unpacks the Chromium that came as a package, with the libraries and fonts that it needs, into ./browser.

import { createReadStream, createWriteStream } from "node:fs";
import { chmod, mkdir, rm, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { extract } from "tar-fs";

const from = resolve("node_modules/@sparticuz/chromium/bin");
const to = resolve("browser");
const plain = (name) => [createReadStream(`${from}/${name}.br`), createBrotliDecompress()];

await mkdir(to, { recursive: true });
await pipeline(...plain("chromium"), createWriteStream(`${to}/chromium`));
await chmod(`${to}/chromium`, 0o755);
for (const name of ["al2023.tar", "fonts.tar", "swiftshader.tar"]) await pipeline(...plain(name), extract(to));
// The directories are beside the file, wherever that is moved to: without fonts Chromium loses what is typed.
await writeFile(
  `${to}/fonts.conf`,
  `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>\n`,
);
// 67 MB that nobody reads again.
await rm(from, { recursive: true });
