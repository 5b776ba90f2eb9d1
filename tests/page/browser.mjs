// The Chromium of the machine, without a window.
import { chromium } from "playwright-core";

/** No updates and no look-ups of its own; no sandbox, for it may run as root in a container. */
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export function launch() {
  return chromium.launch({ executablePath: "/usr/bin/chromium", args: ARGUMENTS });
}
