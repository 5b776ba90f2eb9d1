// The page for people, in a real browser. PAGE_URL (the front of the chain), UPSTREAM_URL (the stand-in) and API_KEY come
// from the environment.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { launch } from "./browser.mjs";

const { PAGE_URL, UPSTREAM_URL, API_KEY } = process.env;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core"), "utf8");
const SECRET = "words that no other client may read";
const DESKTOP = { width: 1100, height: 900 };
const PHONE = { width: 320, height: 640 };

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** Opens the page and waits for its first figures; `t` closes it. Everything that it asked for or complained of is kept. */
async function open(t, { figures, ...options } = {}) {
  const context = await browser.newContext({ locale: "en-US", viewport: DESKTOP, ...options });
  t.after(() => context.close());
  const page = await context.newPage();
  const [requests, complaints] = [[], []];
  page.on("request", (request) => requests.push(request.url()));
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  if (figures) await page.route("**/status.json", (route) => route.fulfill({ json: figures() }));
  await page.goto(PAGE_URL);
  await page.locator('#state[data-state="live"]').waitFor();
  return { page, requests, complaints };
}

const embed = (input, headers = {}) =>
  fetch(`${PAGE_URL}/v1/embeddings`, {
    method: "POST",
    headers: { authorization: `Bearer ${API_KEY}`, "content-type": "application/json", ...headers },
    body: JSON.stringify({ model: "text-embedding-3-small", input }),
  });

const misbehave = (fault) => fetch(`${UPSTREAM_URL.replace(/\/v1$/, "")}/faults`, { method: fault ? "PUT" : "DELETE", body: fault && JSON.stringify(fault) });

/** What a gateway would say, with these parts in place of zeros. */
const figures = (parts = {}) => ({
  replica: "a", version: "1.2.3", ready: true, uptime_seconds: 93_784, now_ms: 10_000_000, token_price: 0.02,
  inputs: { memory: 0, store: 0, collapsed: 0, repeat: 0, miss: 0 },
  tokens: { nominal: 0, billed: 0, saved: 0 },
  requests: { embeddings: 0, passthrough: 0, bypassed: { query: 0, encoding: 0, field: 0, shape: 0 }, in_flight: 0 },
  derived: { vectors: 0, models_off: 0 },
  memory: { bytes: 0, limit_bytes: 0, entries: 0, saved_bytes: 0 },
  store: { kind: "s3", reads: "closed", writes: "closed", refused: [], purges_age_seconds: 2, operations: 0, failed: 0, writes_pending: 0, writes_dropped: 0, saved_bytes: 0 },
  upstream: { calls: 0, failed: 0, faulty: 0, seconds: 0 },
  errors: [],
  ...parts,
});

/** A gateway with something to tell in every corner, good and bad. */
const busy = () =>
  figures({
    inputs: { memory: 825_575, store: 105_461, collapsed: 1_230, repeat: 20_411, miss: 61_112 },
    requests: { embeddings: 20_000, passthrough: 3, bypassed: { query: 0, encoding: 0, field: 1_000, shape: 200 }, in_flight: 2 },
    tokens: { nominal: 912_345_678, billed: 51_234_567, saved: 861_111_111 },
    derived: { vectors: 4_321, models_off: 1 },
    memory: { bytes: 187_654_321, limit_bytes: 268_435_456, entries: 30_211, saved_bytes: 92_808_192 },
    store: { kind: "s3", reads: "open", writes: "closed", refused: [], purges_age_seconds: 2, operations: 164_233, failed: 12, writes_pending: 3, writes_dropped: 7, saved_bytes: 252_280_832 },
    upstream: { calls: 100, failed: 14, faulty: 14, seconds: 20 },
    errors: [{ code: "upstream_unreachable", status: 502, count: 12, last_ms: 9_960_000 }],
  });

test("the figures are the counters', live", async (t) => {
  const words = [randomUUID(), randomUUID(), randomUUID()];
  await embed(words.slice(0, 2));
  const { page } = await open(t);
  const first = await (await fetch(`${PAGE_URL}/status.json`)).json();
  // One new input, two that memory holds, one of them twice.
  assert.equal((await embed([words[0], words[1], words[2], words[2]])).status, 200);
  const number = (count) => count.toLocaleString("en-US");
  const shows = (id, count) => page.locator(id).filter({ hasText: new RegExp(`^${number(count)} ·`) }).waitFor();
  await shows("#inputs-memory", first.inputs.memory + 2);
  await shows("#inputs-miss", first.inputs.miss + 1);
  await shows("#inputs-shared", first.inputs.collapsed + first.inputs.repeat + 1);
  const { tokens, memory } = await (await fetch(`${PAGE_URL}/status.json`)).json();
  assert.equal(await page.textContent("#saved-tokens"), number(tokens.saved));
  assert.ok(tokens.saved > first.tokens.saved);
  assert.equal(tokens.nominal, tokens.billed + tokens.saved);
  assert.equal(await page.textContent("#memory-entries"), number(memory.entries));
  assert.ok(memory.entries >= 3 && memory.bytes > 0 && memory.limit_bytes >= memory.bytes);
});

test("an error is shown by its kind, and none of its words", async (t) => {
  const message = `the upstream speaks of ${SECRET}`;
  await misbehave({ status: 429, message, times: 1, when: { key: API_KEY } });
  t.after(() => misbehave());
  const { page } = await open(t);
  assert.ok((await (await embed(`${SECRET} ${randomUUID()}`)).text()).includes(message));
  await page.getByRole("row", { name: /^upstream_refused 429 1 \d+ s ago$/ }).waitFor();
  assert.ok(!(await page.content()).includes(SECRET));
});

test("the upstream is well although it refuses clients, and ill when it fails", async (t) => {
  for (const [faulty, health] of [[5, "good"], [6, "bad"]]) {
    const { page } = await open(t, { figures: () => figures({ upstream: { calls: 100, failed: 50, faulty, seconds: 1 } }) });
    assert.equal(await page.locator("#upstream-health").getAttribute("data-health"), health);
    assert.equal(await page.textContent("#upstream-health"), "50% succeeded");
  }
});

test("an upstream that gives other vectors, and a model that drifted, stand out", async (t) => {
  for (const [found, words] of [[{ different: 1 }, "An upstream gives other vectors"], [{ different: 1, drifted: 1 }, "A model gives other vectors than before"]]) {
    const { page } = await open(t, { figures: () => figures({ upstream: { calls: 1, failed: 0, faulty: 0, seconds: 1, ...found } }) });
    assert.equal(await page.locator("#upstream-health").getAttribute("data-health"), "bad");
    assert.equal(await page.textContent("#upstream-health"), words);
  }
});

test("vectors made of full ones are counted, and a model that is left to the upstream stands out", async (t) => {
  for (const [models_off, words] of [[0, undefined], [1, "1 model."], [2, "2 models."]]) {
    const { page } = await open(t, { figures: () => figures({ derived: { vectors: 4_321, models_off } }) });
    assert.equal(await page.textContent("#derived-vectors"), "4,321");
    assert.equal(await page.isVisible("#derived-health"), Boolean(words));
    if (words) assert.ok((await page.textContent("#derived-health")).includes(words));
  }
});

test("nothing secret is on it", async (t) => {
  await embed(`${SECRET} ${randomUUID()}`, { "openai-organization": "org-secret" });
  const { page } = await open(t);
  const shown = (await page.content()) + (await (await fetch(`${PAGE_URL}/status.json`)).text());
  for (const secret of [SECRET, API_KEY, "org-secret", "text-embedding", new URL(UPSTREAM_URL).host, process.env.HOME, "Bearer"]) {
    assert.ok(!shown.includes(secret), secret);
  }
});

test("it loads nothing from elsewhere, and its policy allows nothing else", async (t) => {
  const { page, requests, complaints } = await open(t);
  await page.waitForRequest("**/status.json");
  const paths = new Set(requests.map((url) => url.replace(PAGE_URL, "")));
  assert.deepEqual([...paths].sort(), ["/", "/status-totals.js", "/status.css", "/status.js", "/status.json", "/status.svg"].filter((path) => paths.has(path) || path !== "/status.svg"));
  assert.deepEqual(complaints, []);
  const policy = (await fetch(PAGE_URL)).headers.get("content-security-policy");
  assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';/);
  const ran = await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.inlineRan = true";
    document.body.append(script);
    return Boolean(window.inlineRan);
  });
  assert.equal(ran, false);
});

for (const colorScheme of ["light", "dark"]) {
  for (const [size, viewport] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
    test(`${colorScheme}, ${size}: readable for all, and no wider than the screen`, async (t) => {
      const { page } = await open(t, { colorScheme, viewport, reducedMotion: "reduce", figures: busy });
      await page.evaluate(AXE);
      const { violations } = await page.evaluate(() => axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
      assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), []);
      const { width, colour } = await page.evaluate(() => ({ width: document.documentElement.scrollWidth, colour: getComputedStyle(document.body).backgroundColor }));
      assert.equal(width, viewport.width);
      const [red] = colour.match(/\d+/).map(Number);
      assert.ok(colorScheme === "dark" ? red < 64 : red > 192, colour);
    });
  }
}

test("the keyboard reaches everything that can be used, in order, and sees where it is", async (t) => {
  const { page } = await open(t, { figures: busy });
  const reached = [];
  for (let press = 0; press < 3; press++) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => [document.activeElement.id || document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]));
  }
  assert.deepEqual(reached, [["pause", "solid"], ["price", "solid"], ["/metrics", "solid"]]);
});

test("a screen reader hears headings, figures with their names, and the state", async (t) => {
  const { page } = await open(t, { figures: busy });
  const heard = await page.locator("body").ariaSnapshot();
  for (const line of ['heading "embedding-gateway" [level=1]', "status: Live", 'button "Pause"', 'heading "Hit rate" [level=2]', 'spinbutton "Price of a million tokens, in dollars"', "term: Writes dropped", 'definition: "7"', "term: Saved by float16", "definition: 88.5 MiB", "definition: 241 MiB", 'region "Store: S3"', 'columnheader "Kind"', "Left alone: it keeps failing"]) {
    assert.ok(heard.includes(line), `${line}\n${heard}`);
  }
});

test("the viewer's price counts, and is remembered", async (t) => {
  const { page } = await open(t, { figures: busy });
  assert.equal(await page.inputValue("#price"), "0.02");
  assert.equal(await page.textContent("#saved-money"), "$17.22");
  await page.getByLabel("Price of a million tokens, in dollars").fill("0.13");
  await page.getByText("$111.94", { exact: true }).waitFor();
  await page.reload();
  await page.getByText("$111.94", { exact: true }).waitFor();
  await page.getByLabel("Price of a million tokens, in dollars").fill("-1");
  await page.getByText("$17.22", { exact: true }).waitFor();
});

test("it can be paused, and goes on", async (t) => {
  const { page, requests } = await open(t, { figures: busy });
  await page.keyboard.press("Tab");
  await page.keyboard.press("Space");
  await page.getByRole("status").getByText("Paused").waitFor();
  const asked = requests.length;
  // Longer than two turns: nothing announces that nothing happens.
  await page.waitForTimeout(5000);
  assert.equal(requests.length, asked);
  await page.keyboard.press("Enter");
  await page.getByRole("status").getByText("Live").waitFor();
});

test("paused while figures are on their way, it stays so", async (t) => {
  const { page } = await open(t, { figures: busy });
  const asked = new Promise((resolve) => page.route("**/status.json", resolve));
  const route = await asked;
  await page.getByRole("button", { name: "Pause" }).click();
  await route.fulfill({ json: { ...busy(), version: "1.2.4" } });
  await page.getByText("1.2.4").waitFor();
  assert.equal(await page.getByRole("status").textContent(), "Paused");
});

test("what goes past the cache is told with its reasons, and nothing where all is cached", async (t) => {
  const { page } = await open(t, { figures: busy });
  assert.equal(await page.textContent("#requests-bypassed"), "1,200 · 6%");
  assert.equal(await page.textContent("#bypasses"), "Past the cache, paid for each time: a field of unknown effect (1,000), an unknown shape (200)");
  const { page: quiet } = await open(t, { figures });
  assert.equal(await quiet.textContent("#requests-bypassed"), "0");
  assert.equal(await quiet.locator("#bypasses").isVisible(), false);
});

test("the metrics that it leads to can be read there", async (t) => {
  const { page } = await open(t);
  await page.getByRole("link", { name: "/metrics" }).click();
  await page.waitForURL("**/metrics");
  assert.match(await page.textContent("body"), /^# HELP embedding_gateway_\w+ /);
});

test("replicas behind one address are added up, and one that is gone is forgotten", async (t) => {
  const one = { replica: "a", inputs: { memory: 10, store: 0, collapsed: 0, repeat: 0, miss: 10 }, version: "1.2.3" };
  const other = { replica: "b", inputs: { memory: 70, store: 0, collapsed: 0, repeat: 0, miss: 10 }, version: "1.2.4" };
  let [turn, gone] = [0, false];
  const { page } = await open(t, { figures: () => figures(gone || turn++ % 2 ? other : one) });
  await page.getByText("these 2 processes").waitFor();
  assert.equal(await page.textContent("#hit-rate"), "80%");
  assert.equal(await page.textContent("#version"), "1.2.3, 1.2.4");
  gone = true;
  await page.evaluate(() => {
    const now = Date.now;
    Date.now = () => now() + 61_000;
  });
  await page.getByText("this process").waitFor();
  assert.equal(await page.textContent("#hit-rate"), "87.5%");
});

test("when the gateway is gone, it says so and since when, and comes back by itself", async (t) => {
  const { page } = await open(t, { figures: busy });
  await page.route("**/status.json", (route) => route.abort());
  await page.getByRole("status").getByText(/^No answer since \d/).waitFor();
  await page.unroute("**/status.json");
  await page.getByRole("status").getByText("Live").waitFor();
});
