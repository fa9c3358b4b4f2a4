// Drives the Anthropic TypeScript SDK of the folder named first against the gateway named second; prints one JSON document.
import { pathToFileURL } from "node:url";

const [folder, baseURL, apiKey, model] = process.argv.slice(2);
const { default: Anthropic } = await import(pathToFileURL(`${folder}/node_modules/@anthropic-ai/sdk/index.mjs`));
const sent = [];
const client = new Anthropic({
  baseURL,
  apiKey,
  fetch: (url, init) => {
    const headers = new Headers(init.headers);
    sent.push({ bearer: headers.has("authorization"), xApiKey: headers.has("x-api-key") });
    return fetch(url, init);
  },
});
const messages = [{ role: "user", content: "Say something." }];
const tools = [{ name: "weather", description: "Look it up", input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } }];

const { data: unary, response } = await client.messages.create({ model, max_tokens: 64, messages }).withResponse();
const stream = client.messages.stream({ model, max_tokens: 64, messages });
const events = [];
stream.on("streamEvent", (event) => events.push(event.type));
const streamed = await stream.finalMessage();
const tool = await client.messages.create({ model, max_tokens: 256, messages, tools, tool_choice: { type: "any" } });
const counted = await client.messages.countTokens({ model, messages });
const models = [];
for await (const row of client.models.list()) models.push(row.id);
const one = await client.models.retrieve(model);
const failures = {};
try {
  await client.messages.create({ model: "no-such-model", max_tokens: 8, messages });
} catch (error) {
  failures.model = { status: error.status, type: error.error?.error?.type, name: error.constructor.name };
}
try {
  await new Anthropic({ baseURL, apiKey: "psk_wrong" }).messages.create({ model, max_tokens: 8, messages });
} catch (error) {
  failures.key = { status: error.status, type: error.error?.error?.type, name: error.constructor.name };
}
console.log(JSON.stringify({
  sent: sent[0],
  requestId: response.headers.get("request-id"),
  unary: { type: unary.type, stop: unary.stop_reason, usage: unary.usage, text: unary.content[0].text.length },
  streamed: { stop: streamed.stop_reason, usage: streamed.usage, text: streamed.content[0].text.length, first: events[0], last: events.at(-1) },
  tool: { stop: tool.stop_reason, block: tool.content.at(-1).type, input: tool.content.at(-1).input },
  counted: counted.input_tokens,
  models,
  one: one.id,
  failures,
}));
