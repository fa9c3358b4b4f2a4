// Drives the OpenAI TypeScript SDK of the folder named first against the gateway named second; prints one JSON document.
// Arguments: folder, base URL without /v1, key, model of chats, model of responses. The twin of openai_sdk.py.
import { pathToFileURL } from "node:url";

const [folder, base, apiKey, chatModel, responsesModel] = process.argv.slice(2);
const { default: OpenAI } = await import(pathToFileURL(`${folder}/node_modules/openai/index.mjs`));
const baseURL = `${base}/v1`;
const client = new OpenAI({ baseURL, apiKey });
const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const question = [{ role: "system", content: "Be brief." }, { role: "user", content: "Say something." }];

async function chats() {
  const { data: unary, response } = await client.chat.completions
    .create({ model: chatModel, messages: question, max_tokens: 64 }).withResponse();
  let text = "", finish = null, usage = null;
  const stream = await client.chat.completions.create(
    { model: chatModel, messages: question, max_tokens: 64, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) {
    usage = chunk.usage ?? usage;
    for (const choice of chunk.choices) {
      text += choice.delta.content ?? "";
      finish = choice.finish_reason ?? finish;
    }
  }
  const tools = [{ type: "function", function: { name: "weather", description: "Look it up", parameters: city } }];
  const asked = await client.chat.completions.create(
    { model: chatModel, messages: question, max_tokens: 256, tools, tool_choice: "required" });
  const message = asked.choices[0].message;
  const call = message.tool_calls[0];
  const result = { role: "tool", tool_call_id: call.id, content: "sunny" };
  const second = await client.chat.completions.create(
    { model: chatModel, messages: [...question, message, result], max_tokens: 64, tools });
  return {
    requestId: response.headers.get("request-id"),
    unary: { object: unary.object, id: unary.id, finish: unary.choices[0].finish_reason, text: unary.choices[0].message.content.length, usage: unary.usage },
    streamed: { text: text.length, finish, usage },
    tool: { finish: asked.choices[0].finish_reason, name: call.function.name, input: JSON.parse(call.function.arguments) },
    second: { finish: second.choices[0].finish_reason, text: second.choices[0].message.content.length },
  };
}

async function responses() {
  const unary = await client.responses.create({ model: responsesModel, input: "Say something.", max_output_tokens: 256 });
  const events = [];
  for await (const event of await client.responses.create({ model: responsesModel, input: "Say something.", stream: true })) events.push(event.type);
  const tools = [{ type: "function", name: "weather", parameters: city, strict: false }];
  const asked = await client.responses.create({ model: responsesModel, input: "What is the weather?", tools, tool_choice: "required" });
  const call = asked.output.find((item) => item.type === "function_call");
  const result = { type: "function_call_output", call_id: call.call_id, output: "sunny" };
  const second = await client.responses.create(
    { model: responsesModel, input: [{ role: "user", content: "Well?" }, ...asked.output, result], tools });
  return {
    unary: { status: unary.status, text: unary.output_text.length, usage: unary.usage },
    streamed: { first: events[0], last: events.at(-1), deltas: events.filter((type) => type === "response.output_text.delta").length },
    tool: { name: call.name, input: JSON.parse(call.arguments) },
    second: { status: second.status, text: second.output_text.length },
  };
}

async function failures() {
  const told = {};
  for (const [name, key, model] of [["model", apiKey, "no-such-model"], ["key", "psk_wrong", chatModel]]) {
    try {
      await new OpenAI({ baseURL, apiKey: key }).chat.completions.create({ model, messages: question });
    } catch (error) {
      told[name] = { status: error.status, code: error.code, name: error.constructor.name };
    }
  }
  return told;
}

const embedded = await client.embeddings.create({ model: "text-embedding-3-small", input: ["one", "two"] });
const models = [];
for await (const row of client.models.list()) models.push(row.id);
console.log(JSON.stringify({
  chat: await chats(),
  responses: await responses(),
  embeddings: embedded.data.map((row) => row.embedding.length),
  models,
  one: (await client.models.retrieve(chatModel)).id,
  failures: await failures(),
}));
