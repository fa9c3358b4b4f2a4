"""OpenAI's API behind the seam: which requests are its own, and how each operation is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from penstock_simulator.answer import Answer
from penstock_simulator.behaviour import directives
from penstock_simulator.formats import Draft, bearer, models_form
from penstock_simulator.openai import embeddings, errors, identities, limits, prompt
from penstock_simulator.openai.chat_check import check_chat
from penstock_simulator.openai.completion import Completion, finish_reason
from penstock_simulator.openai.models import Models, foreign
from penstock_simulator.openai.reply import compose
from penstock_simulator.openai.response import Response
from penstock_simulator.openai.response_events import ResponseStream
from penstock_simulator.openai.responses_check import check_responses
from penstock_simulator.openai.stored import Stored
from penstock_simulator.openai.usage import Counts
from penstock_simulator.records import Usage
from penstock_simulator.refusal import LimitError, RefusalError
from penstock_simulator.text import seed_of

if TYPE_CHECKING:
    from penstock_simulator.accounts import Account
    from penstock_simulator.connection import Request
    from penstock_simulator.formats import Call
    from penstock_simulator.openai.asked import Asked
    from penstock_simulator.openai.reply import Reply
    from penstock_simulator.settings import SimulatorSettings

# Path: operation, and what the record calls the format.
_POSTS = {
    "/v1/chat/completions": ("messages", "openai_chat"),
    "/v1/responses": ("messages", "openai_responses"),
    "/v1/responses/input_tokens": ("count_tokens", "openai_responses"),
    "/v1/embeddings": ("embeddings", "openai_embeddings"),
}
_LIST = "/v1/models"
_STREAM = "text/event-stream; charset=utf-8"
# How long the prompt cache remembers.
_TTL_SECONDS, _LONG_TTL_SECONDS = 300, 86_400
_SHOWN_KEY_CHARS = 4
_NOT_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
    "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have trouble "
    "figuring out how to fix this, please contact us through our help center at help.openai.com.)"
)
_NO_KEY = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from "
    "https://platform.openai.com/account/api-keys."
)


class OpenAIFormat:
    """Chat Completions, Responses, Embeddings and models."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._models = Models(settings.models)
        self._decoder = msgspec.json.Decoder()
        self._stored: dict[str, Stored] = {}

    def draft(self, request: Request) -> Draft | None:
        """Return what the request is as far as it can be read; None for paths of others."""
        path = request.path
        if request.method == "POST" and path in _POSTS:
            return self._posted(request, *_POSTS[path])
        if request.method == "GET" and (path == _LIST or path.startswith(_LIST + "/")):
            mine = models_form(request) == "openai"
            return Draft("models", "openai_models", item=path[len(_LIST) + 1 :]) if mine else None
        return None

    def _posted(self, request: Request, operation: str, name: str) -> Draft:
        draft = Draft(operation, name)
        try:
            draft.document = self._decoder.decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return draft
        if isinstance(draft.document, dict):
            model = draft.document.get("model")
            draft.model = model if isinstance(model, str) else ""
            # Some servers' names begin with an @ of their own.
            at = draft.model.find("@", 1)
            if at > 0:
                draft.hints.append(draft.model[at + 1 :])
                draft.model = draft.document["model"] = draft.model[:at]
            draft.streamed = draft.document.get("stream") is True and operation == "messages"
            draft.hints += directives(prompt.last_user_text(draft.document))
        return draft

    def credential(self, request: Request) -> str | None:
        """Only `Authorization: Bearer` counts."""
        return bearer(request)

    def headers(self, upstream_request_id: str, account: Account | None) -> list[tuple[str, str]]:
        """Return what every answer carries; also what a gateway must not pass on."""
        result = [
            ("x-request-id", upstream_request_id),
            ("openai-version", "2020-10-01"),
            ("openai-processing-ms", "1"),
            ("cf-ray", "0123456789abcdef-SIM"),
            ("set-cookie", "__cf_bm=simulated; path=/; HttpOnly"),
        ]
        if account is not None:
            result.append(("openai-organization", account.organization))
        return result

    def refusal(self, status: int, call: Call) -> RefusalError:
        """Return the usual error of a status; a 404 names the model, a 429 has the account's limits."""
        if status == 404 and call.draft.model:
            return errors.unknown_model(call.draft.model)
        refusal = errors.usual(status)
        if status == 429:
            refusal.headers += tuple(limits.headers(call.account, call.now))
        return refusal

    def credit_too_low(self) -> RefusalError:
        """Return the 429 of an account without credit."""
        return errors.quota_exceeded()

    def unknown_credential(self, request: Request) -> RefusalError:
        """Return the 401; like the real one it shows the end of the key."""
        refusal = errors.usual(401)
        key = bearer(request)
        if not key:
            refusal.message, refusal.code = _NO_KEY, None
            return refusal
        shown = key[-_SHOWN_KEY_CHARS:] if len(key) > 4 * _SHOWN_KEY_CHARS else ""
        refusal.message = (
            f"Incorrect API key provided: {'*' * (len(key) - len(shown))}{shown}. You can find your API key at "
            "https://platform.openai.com/account/api-keys."
        )
        return refusal

    def error_body(self, refusal: RefusalError, upstream_request_id: str) -> bytes:
        """Return the error envelope."""
        del upstream_request_id
        return errors.body(refusal)

    def answer(self, call: Call) -> Answer:
        """Check the request and compose its answer; raises RefusalError."""
        if call.draft.operation == "models":
            return self._list(call)
        _check_media_type(call.request)
        if call.draft.document is None:
            raise errors.invalid(_NOT_JSON)
        try:
            return self._answer(call)
        except LimitError as error:
            raise limits.refused(error, call.account, call.draft.model, call.now) from None

    def _answer(self, call: Call) -> Answer:
        if call.draft.operation == "embeddings":
            return self._embed(call)
        if call.draft.format == "openai_chat":
            return self._chat(call)
        return self._respond(call)

    # -- Chat Completions

    def _chat(self, call: Call) -> Answer:
        asked = check_chat(call.draft.document, self._models, call.account)
        parts = list(prompt.chat_parts(asked.document))
        whole = prompt.count(parts)
        _fit(asked, whole)
        cached = self._admit(call, asked, parts, whole)
        replies = [self._reply(call, asked, index) for index in range(asked.choices)]
        counts = Counts.of(whole, cached, replies)
        identity = identities.completion_id(_identity(call))
        completion = Completion(identity, int(call.wall), asked, replies, counts)
        answer = self._started(call, whole, finish_reason(replies[0]))
        if call.draft.streamed:
            answer.media_type = _STREAM
            answer.events = completion.stream(call.how)
            error = errors.mid_stream(call.how.error, call.how.message)
            answer.error_event = b"data: " + msgspec.json.encode({"error": error}) + b"\n\n"
        else:
            answer.body = completion.unary(call.how)
            answer.usage = counts.told() if call.how.usage != "none" else None
            answer.chars = sum(reply.chars for reply in replies)
        return answer

    def _reply(self, call: Call, asked: Asked, index: int) -> Reply:
        seed = seed_of(call.request.body, self._settings.seed, call.how.seed) + index
        identity = f"{_identity(call)}.{index}" if index else _identity(call)
        return compose(asked, call.how, identity=identity, seed=seed, default_tokens=self._settings.default_tokens)

    def _started(self, call: Call, whole: int, stop_reason: str) -> Answer:
        headers = limits.headers(call.account, call.now)
        return Answer(headers, input_tokens=whole, stop_reason=stop_reason, error_type=call.how.error or errors.SERVER)

    def _admit(self, call: Call, asked: Asked, parts: list[prompt.Part], whole: int) -> int:
        """Take the request from the account's limits, then let the cache remember it; returns what it knew."""
        minimum, cache = self._settings.cache_minimum_tokens, call.account.cache
        ttl = _LONG_TTL_SECONDS if asked.document.get("prompt_cache_retention") == "24h" else _TTL_SECONDS
        places = prompt.positions(parts, asked.model.name, minimum, ttl) if whole >= minimum else []
        split = cache.split(places, whole, minimum, call.now)
        # What comes from the cache counts for the limits too.
        call.account.admit(whole, call.now, call.wall)
        cache.store(places, minimum, call.now)
        return split.read

    # -- Responses

    def _respond(self, call: Call) -> Answer:
        counting = call.draft.operation == "count_tokens"
        stored = self._stored.setdefault(call.account.name, Stored())
        asked = check_responses(call.draft.document, self._models, call.account, stored, counting=counting)
        parts = list(prompt.responses_parts(asked, call.account.organization))
        whole = prompt.count(parts)
        if counting:
            call.account.admit_count(call.now, call.wall)
            counted = {"object": "response.input_tokens", "input_tokens": whole}
            return Answer(limits.headers(call.account, call.now), body=msgspec.json.encode(counted))
        _fit(asked, whole)
        cached = self._admit(call, asked, parts, whole)
        reply = self._reply(call, asked, 0)
        counts = Counts.of(whole, cached, [reply])
        tells = call.how.usage != "none"
        identity = _identity(call)
        response = Response(identity, call.account.organization, int(call.wall), asked, reply, counts, tells)
        if asked.document.get("store") is not False:
            size = len(call.request.body) + reply.chars
            stored.add(response.id, [*asked.items, *response.output], response.output, size)
        answer = self._started(call, whole, response.stop_reason)
        if call.draft.streamed:
            stream = ResponseStream(response, call.how)
            answer.media_type = _STREAM
            answer.events = stream.events()
            answer.error_event = stream.failure
        else:
            answer.body = response.unary()
            answer.usage = counts.told() if tells and response.status != "failed" else None
            answer.chars = reply.chars
        return answer

    # -- the others

    def _embed(self, call: Call) -> Answer:
        wanted = embeddings.check_embeddings(call.draft.document, self._models, call.account)
        call.account.admit(wanted.tokens, call.now, call.wall)
        answer = self._started(call, wanted.tokens, "")
        answer.body = embeddings.body(wanted)
        answer.usage = Usage(wanted.tokens)
        return answer

    def _list(self, call: Call) -> Answer:
        item, account = call.draft.item, call.account
        if item:
            model = foreign(item) if account.compatible else self._models.find(item)
            if model is None or not account.serves(item):
                words = f"The model '{item}' does not exist"
                raise RefusalError(404, errors.INVALID, words, param="model", code="model_not_found")
            return Answer([], body=msgspec.json.encode(model.shown()))
        rows = [model.shown() for model in self._models.all() if account.serves(model.name)]
        if account.compatible:
            rows = [foreign(name).shown() for name in account.named_models] or rows
        return Answer([], body=msgspec.json.encode({"object": "list", "data": rows}))


def _identity(call: Call) -> str:
    return call.upstream_request_id.removeprefix("req_sim_")


def _check_media_type(request: Request) -> None:
    given = request.header("content-type")
    media_type = given.partition(";")[0].strip().lower()
    if media_type in {"", "application/json"}:
        return
    raise errors.invalid(
        f"Unsupported content type: '{media_type}'. This API method only accepts 'application/json' requests, but you "
        f"specified the header 'Content-Type: {given}'. Please try again with a supported content type.",
        None,
        "unsupported_content_type",
    )


def _fit(asked: Asked, whole: int) -> None:
    """Check that input and output fit into the model's context, and bound the output by it."""
    model, document = asked.model, asked.document
    chat = "messages" in document
    given = next((document[name] for name in ("max_tokens", "max_completion_tokens") if document.get(name)), 0)
    if whole >= model.context or whole + given > model.context:
        if not chat:
            words = "Your input exceeds the context window of this model. Please adjust your input and try again."
        elif given:
            words = (
                f"This model's maximum context length is {model.context} tokens. However, you requested "
                f"{whole + given} tokens ({whole} in the messages, {given} in the completion). Please reduce the "
                "length of the messages or completion."
            )
        else:
            words = (
                f"This model's maximum context length is {model.context} tokens. However, your messages resulted in "
                f"{whole} tokens. Please reduce the length of the messages."
            )
        raise errors.invalid(words, "messages" if chat else "input", "context_length_exceeded")
    asked.max_tokens = min(asked.max_tokens, model.context - whole)
