// Bundles page.mjs and what it needs from npm into app.js. The same input gives the same bytes; a test compares them.
import { build } from "esbuild";

await build({
  entryPoints: ["page.mjs"],
  outfile: process.argv[2] ?? "app.js",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "eof",
});
