// The official Node SDK, unchanged, through Envoy, Varnish and the backend.
// CHAIN_URL, UPSTREAM_URL (the stand-in's own address) and API_KEY come from the environment.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { beforeEach, test } from "node:test";
import OpenAI from "openai";

const MODEL = "text-embedding-3-small";
const { CHAIN_URL, UPSTREAM_URL, API_KEY } = process.env;
const stand_in = UPSTREAM_URL.replace(/\/v1$/, "");

let client;
beforeEach(() => {
  client = new OpenAI({ baseURL: `${CHAIN_URL}/v1`, apiKey: API_KEY, maxRetries: 0 });
});

const fresh = (name) => `${name} ${randomUUID()}`;
const upstream = async () => (await fetch(`${stand_in}/stats`)).json();
const create = (body) => client.embeddings.create({ model: MODEL, ...body }).withResponse();

test("the second call comes from Varnish and the upstream does not hear of it", async () => {
  const input = [fresh("first"), fresh("second")];
  const before = (await upstream()).embeddings.calls;
  const miss = await create({ input });
  const hit = await create({ input });
  assert.match(hit.response.headers.get("cache-status"), /Varnish; hit/i);
  assert.doesNotMatch(miss.response.headers.get("cache-status"), /hit/);
  assert.equal(hit.response.headers.get("x-embedding-billed-tokens"), "0");
  assert.deepEqual(hit.data.data, miss.data.data);
  assert.equal((await upstream()).embeddings.calls, before + 1);
});

test("the same inputs in another batch and order send only what is new", async () => {
  const [first, second, third] = ["first", "second", "third"].map(fresh);
  const before = (await upstream()).embeddings.inputs;
  const one = await create({ input: [first, second] });
  const other = await create({ input: [third, second, first], encoding_format: "float" });
  assert.equal((await upstream()).embeddings.inputs, before + 3);
  const f32 = (item) => Float32Array.from(item.embedding);
  assert.deepEqual(f32(other.data.data[1]), f32(one.data.data[1]));
  assert.deepEqual(f32(other.data.data[2]), f32(one.data.data[0]));
});

test("a chat stream arrives in events", async () => {
  const stream = await client.chat.completions.create({
    model: "gpt-4o-mini",
    messages: [{ role: "user", content: "say something long" }],
    stream: true,
  });
  let events = 0;
  for await (const _ of stream) events += 1;
  assert.ok(events > 2);
});

test("an error raises the SDK's own class", async () => {
  await assert.rejects(create({ input: "" }), OpenAI.BadRequestError);
  await assert.rejects(create({ input: "x", model: "no-such-model" }), OpenAI.NotFoundError);
});
