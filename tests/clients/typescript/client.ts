// Uses openapi-fetch with the types that openapi-typescript makes: fills a collection, searches
// it, embeds, and reads refusals. The type checker holds each answer to the description.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Problem = components["schemas"]["Problem"];

const client = createClient<paths>({
  baseUrl: process.env.CLIENT_URL,
  headers: { Authorization: `Bearer ${process.env.CLIENT_KEY}` },
});
const path = { name: "made-in-typescript" };

const made = await client.PUT("/v1/collections/{name}", {
  params: { path },
  body: { description: "客户手册" },
});
assert.ok(made.data, JSON.stringify(made.error));

const accepted = await client.POST("/v1/collections/{name}/documents", {
  params: { path },
  body: { documents: [{ id: "export", text: "客户画像可以在客户页面导出为表格。" }] },
});
assert.ok(accepted.data, JSON.stringify(accepted.error));
const id: string = accepted.data.task;
let task;
do {
  await new Promise((resolve) => setTimeout(resolve, 100));
  task = await client.GET("/v1/tasks/{id}", { params: { path: { id } } });
} while (task.data && ["queued", "running"].includes(task.data.status));
assert.equal(task.data?.status, "succeeded");

const found = await client.POST("/v1/search", {
  body: {
    query: "怎么导出客户画像",
    collection: path.name,
    top_k: 1,
    context: { facts: { region: "华东区" } },
  },
});
assert.ok(found.data, JSON.stringify(found.error));
// Only with `stream` is it text.
assert.ok(typeof found.data === "object");
const first: string | undefined = found.data.results[0]?.document_id;
assert.equal(first, "export");

const embedded = await client.POST("/v1/embeddings", { body: { input: ["客户画像", "leads"] } });
assert.equal(embedded.data?.data.length, 2);

const missing = await client.GET("/v1/collections/{name}", {
  params: { path: { name: "nothing-here" } },
});
const problem: Problem | undefined = missing.error;
assert.equal(problem?.code, "collection_not_found");
assert.equal(missing.response.status, 404);

const unknown = await client.GET("/v1/models/{id}", { params: { path: { id: "gpt-4" } } });
const code: string | null | undefined = unknown.error?.error.code;
assert.equal(code, "model_not_found");
console.log("the TypeScript client works");
