// Adds up what the replicas behind this address say, each of which counts for itself.

/** A replica that was not heard of for so long has gone. */
const FORGET_MS = 60_000;

/** The last word of each replica, by its number. */
const replicas = new Map();

/** Takes in one replica's figures; returns what it served since its last word, none if this is its first. */
export function hear(status, now) {
  const before = replicas.get(status.replica)?.status;
  replicas.set(status.replica, { status, now });
  for (const [number, replica] of replicas) {
    if (now - replica.now > FORGET_MS) replicas.delete(number);
  }
  const since = (count) => (before ? Math.max(0, count(status.inputs) - count(before.inputs)) : 0);
  return { saved: since(saved), paid: since((inputs) => inputs.miss) };
}

/** The figures of all replicas together. */
export function totals() {
  const all = [...replicas.values()].map(({ status }) => status);
  const sum = (figure) => all.reduce((total, status) => total + figure(status), 0);
  const sums = (part) => Object.fromEntries(Object.keys(all[0][part]).map((name) => [name, sum((status) => status[part][name])]));
  return {
    replicas: all.length,
    ready: all.every((status) => status.ready),
    versions: [...new Set(all.map((status) => status.version))],
    uptime: Math.max(...all.map((status) => status.uptime_seconds)),
    now_ms: Math.max(...all.map((status) => status.now_ms)),
    price: all[0].token_price,
    inputs: sums("inputs"),
    tokens: sums("tokens"),
    requests: { ...sums("requests"), bypassed: reasonsOf(all.map((status) => status.requests.bypassed)) },
    derived: derivedOf(all.map((status) => status.derived ?? { vectors: 0, models_off: 0 })),
    memory: sums("memory"),
    upstream: sums("upstream"),
    store: storeOf(all.map((status) => status.store), sums("store")),
    errors: joined(all.flatMap((status) => status.errors)),
  };
}

/** Inputs without a charge of the upstream. */
export function saved({ memory, store, collapsed, repeat }) {
  return memory + store + collapsed + repeat;
}

function reasonsOf(replicas) {
  const reasons = {};
  for (const [reason, count] of replicas.flatMap((bypassed) => Object.entries(bypassed ?? {}))) reasons[reason] = (reasons[reason] ?? 0) + count;
  return reasons;
}

/** Replicas list the same models, and each tests for itself. */
function derivedOf(replicas) {
  return {
    vectors: replicas.reduce((total, { vectors }) => total + vectors, 0),
    models_off: Math.max(...replicas.map(({ models_off }) => models_off)),
  };
}

function storeOf(stores, sums) {
  return {
    ...sums,
    kind: stores[0].kind,
    reads: worst(stores.map((store) => store.reads)),
    writes: worst(stores.map((store) => store.writes)),
    refused: [...new Set(stores.flatMap((store) => store.refused))],
  };
}

function worst(states) {
  return ["open", "half_open", "closed"].find((state) => states.includes(state));
}

/** One line for each kind of error, the latest first. */
function joined(errors) {
  const kinds = new Map();
  for (const error of errors) {
    const key = `${error.code} ${error.status}`;
    const { count, last_ms } = kinds.get(key) ?? { count: 0, last_ms: 0 };
    kinds.set(key, { ...error, count: count + error.count, last_ms: Math.max(last_ms, error.last_ms) });
  }
  return [...kinds.values()].sort((one, other) => other.last_ms - one.last_ms);
}
