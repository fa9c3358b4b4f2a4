"""Drives the Anthropic Python SDK of this interpreter against the gateway named first; prints one JSON document.

Arguments: base URL, key, model. The twin of messages.mjs.
"""

import json
import sys

import anthropic
import httpx

base_url, api_key, model = sys.argv[1:]
sent: list[dict[str, bool]] = []


def note(request: httpx.Request) -> None:
    sent.append({"bearer": "authorization" in request.headers, "xApiKey": "x-api-key" in request.headers})


client = anthropic.Anthropic(
    base_url=base_url, api_key=api_key, http_client=anthropic.DefaultHttpxClient(event_hooks={"request": [note]})
)
messages = [{"role": "user", "content": "Say something."}]
tools = [
    {
        "name": "weather",
        "description": "Look it up",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]
raw = client.messages.with_raw_response.create(model=model, max_tokens=64, messages=messages)
unary = raw.parse()
events = []
with client.messages.stream(model=model, max_tokens=64, messages=messages) as stream:
    for event in stream:
        events.append(event.type)
    streamed = stream.get_final_message()
tool = client.messages.create(model=model, max_tokens=256, messages=messages, tools=tools, tool_choice={"type": "any"})
counted = client.messages.count_tokens(model=model, messages=messages)
models = [row.id for row in client.models.list()]
one = client.models.retrieve(model)
failures = {}
for name, key, wanted in (("model", api_key, "no-such-model"), ("key", "psk_wrong", model)):
    try:
        anthropic.Anthropic(base_url=base_url, api_key=key).messages.create(
            model=wanted, max_tokens=8, messages=messages
        )
    except anthropic.APIStatusError as error:
        failures[name] = {
            "status": error.status_code,
            "type": error.body["error"]["type"],
            "name": type(error).__name__,
        }
print(
    json.dumps(
        {
            "sent": sent[0],
            "requestId": raw.headers["request-id"],
            "unary": {
                "type": unary.type,
                "stop": unary.stop_reason,
                "usage": unary.usage.to_dict(),
                "text": len(unary.content[0].text),
            },
            "streamed": {
                "stop": streamed.stop_reason,
                "usage": streamed.usage.to_dict(),
                "text": len(streamed.content[0].text),
                "first": events[0],
                "last": events[-1],
            },
            "tool": {"stop": tool.stop_reason, "block": tool.content[-1].type, "input": tool.content[-1].input},
            "counted": counted.input_tokens,
            "models": models,
            "one": one.id,
            "failures": failures,
        }
    )
)
