"""Drives the OpenAI Python SDK of this interpreter against the gateway named first; prints one JSON document.

Arguments: base URL without /v1, key, model of chats, model of responses. The twin of openai_sdk.mjs.
"""

import json
import sys

import openai

base_url, api_key, chat_model, responses_model = sys.argv[1:]
client = openai.OpenAI(base_url=f"{base_url}/v1", api_key=api_key)
city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
question = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say something."}]


def chats():
    raw = client.chat.completions.with_raw_response.create(model=chat_model, messages=question, max_tokens=64)
    unary = raw.parse()
    text, finish, usage = "", None, None
    stream = client.chat.completions.create(
        model=chat_model, messages=question, max_tokens=64, stream=True, stream_options={"include_usage": True}
    )
    for chunk in stream:
        if chunk.usage:
            usage = chunk.usage.model_dump()
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    tools = [{"type": "function", "function": {"name": "weather", "description": "Look it up", "parameters": city}}]
    asked = client.chat.completions.create(
        model=chat_model, messages=question, max_tokens=256, tools=tools, tool_choice="required"
    )
    call = asked.choices[0].message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    second = client.chat.completions.create(
        model=chat_model, messages=[*question, asked.choices[0].message, result], max_tokens=64, tools=tools
    )
    return {
        "requestId": raw.headers["request-id"],
        "unary": {
            "object": unary.object,
            "id": unary.id,
            "finish": unary.choices[0].finish_reason,
            "text": len(unary.choices[0].message.content),
            "usage": unary.usage.model_dump(),
        },
        "streamed": {"text": len(text), "finish": finish, "usage": usage},
        "tool": {
            "finish": asked.choices[0].finish_reason,
            "name": call.function.name,
            "input": json.loads(call.function.arguments),
        },
        "second": {"finish": second.choices[0].finish_reason, "text": len(second.choices[0].message.content)},
    }


def responses():
    unary = client.responses.create(model=responses_model, input="Say something.", max_output_tokens=256)
    events = []
    for event in client.responses.create(model=responses_model, input="Say something.", stream=True):
        events.append(event.type)
    tools = [{"type": "function", "name": "weather", "parameters": city, "strict": False}]
    asked = client.responses.create(
        model=responses_model, input="What is the weather?", tools=tools, tool_choice="required"
    )
    call = next(item for item in asked.output if item.type == "function_call")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = client.responses.create(
        model=responses_model, input=[{"role": "user", "content": "Well?"}, *asked.output, result], tools=tools
    )
    return {
        "unary": {"status": unary.status, "text": len(unary.output_text), "usage": unary.usage.model_dump()},
        "streamed": {"first": events[0], "last": events[-1], "deltas": events.count("response.output_text.delta")},
        "tool": {"name": call.name, "input": json.loads(call.arguments)},
        "second": {"status": second.status, "text": len(second.output_text)},
    }


def failures():
    told = {}
    for name, key, wanted in (("model", api_key, "no-such-model"), ("key", "psk_wrong", chat_model)):
        try:
            openai.OpenAI(base_url=f"{base_url}/v1", api_key=key).chat.completions.create(
                model=wanted, messages=question
            )
        except openai.APIStatusError as error:
            told[name] = {"status": error.status_code, "code": error.code, "name": type(error).__name__}
    return told


embedded = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
print(
    json.dumps(
        {
            "chat": chats(),
            "responses": responses(),
            "embeddings": [len(row.embedding) for row in embedded.data],
            "models": [row.id for row in client.models.list()],
            "one": client.models.retrieve(chat_model).id,
            "failures": failures(),
        }
    )
)
