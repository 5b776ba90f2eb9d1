// Pictures of the page, light and dark: PAGE_URL=http://… node pictures.mjs FOLDER
// Opens the page, watches until a line comes on standard input, and takes the pictures then.
import { once } from "node:events";
import { launch } from "./browser.mjs";

const browser = await launch();
const tabs = new Map();
for (const colorScheme of ["light", "dark"]) {
  const tab = await browser.newPage({ locale: "en-US", colorScheme, viewport: { width: 1100, height: 900 } });
  await tab.goto(process.env.PAGE_URL);
  tabs.set(colorScheme, tab);
}
await once(process.stdin, "data");
for (const [colorScheme, tab] of tabs) await tab.screenshot({ path: `${process.argv[2]}/page-${colorScheme}.png`, fullPage: true });
await browser.close();
process.stdin.destroy();
