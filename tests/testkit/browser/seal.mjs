// Seals one Matrix ID on the page.

import { blank, job, open, start, type } from "./driver.mjs";

const { browser, end } = await start();
try {
  const page = await blank(browser);
  await open(page, job.url);
  process.stdout.write(JSON.stringify(await type(page, job.user)));
} finally {
  await end();
}
