// Asks for the figures every two seconds and shows them. Whatever is shown is set as text, never as markup.
import { hear, saved, totals } from "./status-totals.js";

const INTERVAL_MS = 2000;
const PATIENCE_MS = 5000;
/** Bars of the picture: three minutes. */
const BARS = 90;
const PRICE = "embedding-gateway.price";

const by = (id) => document.getElementById(id);
const show = (id, text) => {
  if (by(id).textContent !== text) by(id).textContent = text;
};

const whole = new Intl.NumberFormat();
const percent = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const dollars = new Intl.NumberFormat(undefined, { style: "currency", currency: "USD" });
const cents = new Intl.NumberFormat(undefined, { style: "currency", currency: "USD", maximumSignificantDigits: 2 });
const rate = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });

const money = (amount) => (amount > 0 && amount < 1 ? cents : dollars).format(amount);
const share = (part, of) => (of > 0 ? percent.format(part / of) : "–");

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = count > 0 ? Math.min(units.length - 1, Math.floor(Math.log2(count) / 10)) : 0;
  return `${rate.format(count / 1024 ** power)} ${units[power]}`;
}

function duration(seconds) {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min` : `${seconds} s`;
}

function health(id, isGood, text) {
  by(id).dataset.health = isGood ? "good" : "bad";
  show(id, text);
}

function showSavings({ tokens, price }) {
  const field = by("price");
  if (field.value === "" && document.activeElement !== field) field.value = price;
  show("saved-money", money((tokens.saved / 1e6) * (field.valueAsNumber >= 0 ? field.valueAsNumber : price)));
  show("saved-tokens", whole.format(tokens.saved));
  show("nominal-tokens", whole.format(tokens.nominal));
  show("billed-tokens", whole.format(tokens.billed));
}

function showInputs({ inputs }) {
  const parts = { memory: inputs.memory, store: inputs.store, shared: inputs.collapsed + inputs.repeat, miss: inputs.miss };
  const all = saved(inputs) + inputs.miss;
  show("hit-rate", share(saved(inputs), all));
  show("inputs-total", whole.format(all));
  for (const [name, count] of Object.entries(parts)) {
    show(`inputs-${name}`, all ? `${whole.format(count)} · ${share(count, all)}` : whole.format(count));
    by("bar").querySelector(`.${name}`).style.flexGrow = count;
  }
}

function showMemory({ memory }) {
  const full = memory.limit_bytes > 0 ? memory.bytes / memory.limit_bytes : 0;
  health("memory-health", true, memory.limit_bytes > 0 ? `${percent.format(full)} full` : "Off");
  by("memory-meter").style.inlineSize = `${Math.min(100, full * 100)}%`;
  show("memory-bytes", bytes(memory.bytes));
  show("memory-limit", bytes(memory.limit_bytes));
  show("memory-entries", whole.format(memory.entries));
  show("memory-saved", bytes(memory.saved_bytes));
}

const BREAKER = { closed: "In use", open: "Left alone: it keeps failing", half_open: "Being tried again" };
const WRITES = { open: "Read only: writes keep failing", half_open: "Writes are being tried again" };
const STORES = { s3: "S3", directory: "directory", memory: "memory" };

function showStore({ store }) {
  const off = store.kind === "none";
  const inUse = store.reads === "closed" && store.writes === "closed" && store.refused.length === 0;
  health("store-health", off || inUse, off ? "Off" : storeHealth(store));
  show("store-title", off ? "Store" : `Store: ${STORES[store.kind]}`);
  show("store-operations", whole.format(store.operations));
  show("store-failed", whole.format(store.failed));
  show("store-pending", whole.format(store.writes_pending));
  show("store-dropped", whole.format(store.writes_dropped));
  show("store-saved", bytes(store.saved_bytes));
}

function storeHealth({ reads, writes, refused }) {
  if (refused.length > 0) return `Refuses to ${refused.join(", ")}`;
  return reads === "closed" && writes !== "closed" ? WRITES[writes] : BREAKER[reads];
}

function showCalls({ upstream, requests, derived, ready }) {
  // A client without a right key is no illness of the upstream.
  health("upstream-health", upstream.faulty * 20 <= upstream.calls && !(upstream.different || upstream.drifted), upstreamHealth(upstream));
  show("upstream-calls", whole.format(upstream.calls));
  show("upstream-failed", whole.format(upstream.failed));
  show("upstream-time", upstream.calls ? `${rate.format((upstream.seconds / upstream.calls) * 1000)} ms` : "–");
  health("requests-health", ready, ready ? "Taking requests" : "Shutting down");
  show("requests-embeddings", whole.format(requests.embeddings));
  showBypasses(requests);
  showDerived(derived);
  show("requests-passthrough", whole.format(requests.passthrough));
  show("requests-in-flight", whole.format(requests.in_flight));
}

/** Other vectors than before, or than elsewhere, are worse than any failure. */
function upstreamHealth({ calls, failed, different, drifted }) {
  if (drifted) return "A model gives other vectors than before";
  if (different) return "An upstream gives other vectors";
  return calls ? `${share(calls - failed, calls)} succeeded` : "Not asked yet";
}

/** Vectors of fewer dimensions, made of full ones. */
function showDerived({ vectors, models_off }) {
  show("derived-vectors", whole.format(vectors));
  by("derived-health").hidden = models_off === 0;
  show("derived-health", `Not shortened, though listed: ${whole.format(models_off)} ${models_off === 1 ? "model" : "models"}. The upstream's own vectors differ`);
}

/** Why requests go past the cache, in the words of the page. */
const BYPASSES = { query: "a query with a credential", encoding: "a compressed body", field: "a field of unknown effect", shape: "an unknown shape" };

/** Each of them is paid for, however often it comes. */
function showBypasses({ bypassed, embeddings }) {
  const reasons = Object.entries(bypassed).filter(([, count]) => count > 0);
  const all = reasons.reduce((total, [, count]) => total + count, 0);
  show("requests-bypassed", all ? `${whole.format(all)} · ${share(all, embeddings)}` : whole.format(all));
  by("bypasses").hidden = all === 0;
  show("bypasses", `Past the cache, paid for each time: ${reasons.map(([reason, count]) => `${BYPASSES[reason] ?? reason} (${whole.format(count)})`).join(", ")}`);
}

function showErrors({ errors, now_ms }) {
  by("errors").hidden = errors.length === 0;
  by("no-errors").hidden = errors.length > 0;
  by("errors").tBodies[0].replaceChildren(
    ...errors.map(({ code, status, count, last_ms }) => {
      const row = document.createElement("tr");
      // On a narrow screen a name breaks behind an underscore, and nowhere else.
      row.insertCell().append(...code.split(/(?<=_)/).flatMap((word) => [word, document.createElement("wbr")]));
      for (const text of [status, whole.format(count), `${duration(Math.floor((now_ms - last_ms) / 1000))} ago`]) {
        row.insertCell().textContent = text;
      }
      return row;
    }),
  );
}

function showProcess({ replicas, versions, uptime }) {
  show("replicas", replicas > 1 ? `these ${replicas} processes` : "this process");
  show("version", versions.join(", "));
  show("uptime", duration(uptime));
}

const bars = [];

function showLive(served, seconds) {
  bars.push({ saved: served.saved / seconds, paid: served.paid / seconds });
  if (bars.length > BARS) bars.shift();
  const height = ({ saved, paid }) => saved + paid;
  const peak = Math.max(...bars.map(height));
  show("live-rate", rate.format(height(bars.at(-1))));
  show("live-peak", rate.format(peak));
  const scale = 64 / (peak || 1);
  by("live").replaceChildren(
    ...bars.flatMap((bar, index) => {
      const x = (BARS - bars.length + index) * 4;
      return [rect(x, 64 - bar.paid * scale, bar.paid * scale, "miss"), rect(x, 64 - height(bar) * scale, bar.saved * scale, "memory")];
    }),
  );
}

function rect(x, y, height, kind) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of Object.entries({ x, y, height, width: 3, class: kind })) made.setAttribute(name, value);
  return made;
}

const paused = () => by("pause").getAttribute("aria-pressed") === "true";

/** While paused nothing else is said: the last answer may still be on its way. */
function showState(state, text) {
  if (paused() && state !== "paused") return;
  by("state").dataset.state = state;
  show("state", text);
}

let heard = 0;

async function look() {
  try {
    const answer = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const served = hear(await answer.json(), Date.now());
    const all = totals();
    showLive(served, heard ? (Date.now() - heard) / 1000 : INTERVAL_MS / 1000);
    for (const part of [showSavings, showInputs, showMemory, showStore, showCalls, showErrors, showProcess]) part(all);
    heard = Date.now();
    showState("live", "Live");
  } catch {
    showState("lost", heard ? `No answer since ${new Date(heard).toLocaleTimeString()}` : "No answer");
  }
}

async function watch() {
  if (!paused() && !document.hidden) await look();
  setTimeout(watch, INTERVAL_MS);
}

/** Where the browser keeps nothing for pages, the price holds until the page is left. */
function remember(value) {
  try {
    if (value === undefined) return localStorage.getItem(PRICE) ?? "";
    localStorage.setItem(PRICE, value);
  } catch {}
  return "";
}

by("price").value = remember();
by("price").addEventListener("input", (event) => {
  remember(event.target.value);
  if (heard) showSavings(totals());
});
by("pause").addEventListener("click", () => {
  by("pause").setAttribute("aria-pressed", String(!paused()));
  if (paused()) showState("paused", "Paused");
});
watch();
