"""Drives google-genai of this interpreter against the gateway named first; prints one JSON document.

Arguments: base URL, key, model.
"""

import json
import sys

from google import genai
from google.genai import errors, types

base_url, api_key, model = sys.argv[1:]


def at(key: str) -> genai.Client:
    return genai.Client(api_key=key, http_options={"base_url": base_url})


client = at(api_key)
unary = client.models.generate_content(
    model=model,
    contents="Say something.",
    config={"system_instruction": "Be brief.", "max_output_tokens": 256, "temperature": 0.5},
)
chunks = list(client.models.generate_content_stream(model=model, contents="Say something."))
weather = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="weather",
            description="Look it up",
            parameters={"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]},
        )
    ]
)
config = types.GenerateContentConfig(
    tools=[weather], tool_config={"function_calling_config": {"mode": "ANY"}}, max_output_tokens=512
)
asked = client.models.generate_content(model=model, contents="What is the weather?", config=config)
call = asked.function_calls[0]
turns = [
    types.Content(role="user", parts=[types.Part(text="What is the weather?")]),
    asked.candidates[0].content,
    types.Content(role="user", parts=[types.Part.from_function_response(name="weather", response={"result": "sunny"})]),
]
second = client.models.generate_content(
    model=model, contents=turns, config=types.GenerateContentConfig(tools=[weather], max_output_tokens=256)
)
failures = {}
for name, key, wanted in (("model", api_key, "no-such-model"), ("key", "psk_wrong", model)):
    other = at(key)  # Held by a name: one that nobody holds is closed before it is done.
    try:
        other.models.generate_content(model=wanted, contents="hi")
    except errors.APIError as error:
        failures[name] = {"code": error.code, "status": error.status}
print(
    json.dumps(
        {
            "unary": {
                "text": len(unary.text),
                "finish": unary.candidates[0].finish_reason.value,
                "usage": unary.usage_metadata.model_dump(mode="json", exclude_none=True),
            },
            "streamed": {
                "text": sum(len(chunk.text or "") for chunk in chunks),
                "chunks": len(chunks),
                "finish": chunks[-1].candidates[0].finish_reason.value,
                "output": chunks[-1].usage_metadata.candidates_token_count,
            },
            "tool": {"name": call.name, "input": call.args},
            "second": {"text": len(second.text), "finish": second.candidates[0].finish_reason.value},
            "counted": client.models.count_tokens(model=model, contents="Say something.").total_tokens,
            "failures": failures,
        }
    )
)
