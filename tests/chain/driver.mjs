// Node's clients as a program: each line of stdin is a call (JSON), each line of stdout what its client made of it.
import { createInterface } from "node:readline";
import { createOpenAI } from "@ai-sdk/openai";
import { embedMany } from "ai";
import OpenAI, { AzureOpenAI } from "openai";

async function withOpenAI({ base_url, key, retries, model, input, format }) {
  const client = new OpenAI({ baseURL: base_url, apiKey: key, maxRetries: retries });
  const wanted = format ? { encoding_format: format } : {};
  const { data, response } = await client.embeddings.create({ model, input, ...wanted }).withResponse();
  return { vectors: data.data.map((item) => item.embedding), headers: Object.fromEntries(response.headers) };
}

async function withAzure({ base_url, key, retries, model, input }) {
  const client = new AzureOpenAI({ endpoint: base_url, apiKey: key, apiVersion: "2024-10-21", maxRetries: retries });
  const { data, response } = await client.embeddings.create({ model, input }).withResponse();
  return { vectors: data.data.map((item) => item.embedding), headers: Object.fromEntries(response.headers) };
}

async function withVercel({ base_url, key, retries, model, input }) {
  const provider = createOpenAI({ baseURL: base_url, apiKey: key });
  const answer = await embedMany({ model: provider.embeddingModel(model), values: input, maxRetries: retries });
  return { vectors: answer.embeddings, headers: answer.responses[0].headers };
}

const clients = { azure: withAzure, openai: withOpenAI, vercel: withVercel };
for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const call = JSON.parse(line);
    answer = await clients[call.client](call);
  } catch (error) {
    const refused = error.lastError ?? error;
    answer = { error: error.constructor.name, status: refused.status ?? refused.statusCode ?? null, message: error.message };
  }
  console.log(JSON.stringify(answer));
}
