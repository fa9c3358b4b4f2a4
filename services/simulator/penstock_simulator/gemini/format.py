"""Google's API behind the seam: which requests are its own, and how each operation is answered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from penstock_simulator.answer import Answer
from penstock_simulator.behaviour import Fault, directives
from penstock_simulator.formats import Draft, bearer, models_form
from penstock_simulator.gemini import embedding, errors, events, messages, prompt
from penstock_simulator.gemini.check import check, check_count
from penstock_simulator.gemini.errors import GoogleError
from penstock_simulator.gemini.message import compose
from penstock_simulator.gemini.models import Model, Models, page
from penstock_simulator.gemini.proto import read
from penstock_simulator.records import Usage
from penstock_simulator.refusal import LimitError
from penstock_simulator.text import seed_of

if TYPE_CHECKING:
    from penstock_simulator.accounts import Account
    from penstock_simulator.connection import Request
    from penstock_simulator.formats import Call
    from penstock_simulator.gemini.check import Checked
    from penstock_simulator.refusal import RefusalError
    from penstock_simulator.settings import SimulatorSettings

_MODELS = re.compile(r"/(v1|v1beta)/models(?:/(.*))?", re.DOTALL)
_METHODS = {
    "generateContent": "messages",
    "streamGenerateContent": "messages",
    "countTokens": "count_tokens",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
}
_STREAMED = "streamGenerateContent"


def _method(request: Request) -> str:
    return request.path.rpartition(":")[2]


def _version(request: Request) -> str:
    return request.path.split("/", 2)[1]


def _as_events(request: Request) -> bool:
    return (request.argument("alt") or request.argument("$alt")) == "sse"


class GeminiFormat:
    """The Gemini API (generativelanguage)."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._models = Models(settings.models)
        self._decoder = msgspec.json.Decoder()

    # -- what the request is

    def draft(self, request: Request) -> Draft | None:
        """Return what the request is as far as it can be read; None for paths of others."""
        found = _MODELS.fullmatch(request.path)
        if found is None:
            return None
        item = found[2] or ""
        if request.method == "GET":
            mine = found[1] == "v1beta" or models_form(request) == "gemini"
            return Draft("models", "gemini", item=item) if mine else None
        # A directive after the model's name may hold a colon; a method does not.
        name, _, method = item.rpartition(":")
        if request.method != "POST" or method not in _METHODS:
            return None
        return self._posted(request, name, method)

    def _posted(self, request: Request, name: str, method: str) -> Draft:
        draft = Draft(_METHODS[method], "gemini", streamed=method == _STREAMED)
        draft.model, _, suffix = name.partition("@")
        if suffix:
            draft.hints.append(suffix)
        try:
            # Nothing at all is a message without fields.
            draft.document = self._decoder.decode(request.body) if request.body.strip() else {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return draft
        draft.hints += directives(prompt.last_user_text(draft.document))
        return draft

    def credential(self, request: Request) -> str | None:
        """Return the key; a bearer token spoils it, as with the real one."""
        if bearer(request) is not None:
            return None
        return request.header("x-goog-api-key") or request.argument("key")

    # -- errors

    def headers(self, upstream_request_id: str, account: Account | None) -> list[tuple[str, str]]:  # noqa: ARG002 -- Google names a request in the body only (responseId)
        """Return what every answer carries; also what a gateway must not pass on."""
        return [
            ("vary", "Origin, X-Origin, Referer"),
            ("server", "scaffolding on HTTPServer2"),
            ("x-xss-protection", "0"),
            ("x-frame-options", "SAMEORIGIN"),
            ("x-content-type-options", "nosniff"),
            ("server-timing", "gfet4t7; dur=12"),
            ("alt-svc", 'h3=":443"; ma=2592000'),
        ]

    def refusal(self, status: int, call: Call) -> RefusalError:
        """Return the usual error of a status; a 404 names the model."""
        how = call.how
        if status == 413 and how.fault != "413":
            words = f"Request payload size exceeds the limit: {self._settings.max_body_bytes} bytes."
            return self._listed(call.request, errors.invalid(words))
        if not how.fault.isdigit():
            status = errors.code(how.error)
        if status == 404 and call.draft.model:
            return self._listed(call.request, self._unknown(call))
        return self._listed(call.request, errors.usual(status, call.draft.model, errors.delay(how.retry_after)))

    def credit_too_low(self) -> RefusalError:
        """Return the 429 of an account without credit."""
        return errors.credit_too_low()

    def unknown_credential(self, request: Request) -> RefusalError:
        """Return the error of a missing key (403), a wrong one (400) or a bearer token (401)."""
        if bearer(request) is not None:
            return self._listed(request, errors.bearer_given())
        given = request.header("x-goog-api-key") or request.argument("key")
        return self._listed(request, errors.wrong_key() if given else errors.missing_key())

    def error_body(self, refusal: RefusalError, upstream_request_id: str) -> bytes:  # noqa: ARG002 -- Google's errors do not name the request
        """Return the error's body."""
        return errors.body(refusal)

    def _listed(self, request: Request, refusal: GoogleError) -> GoogleError:
        refusal.listed = _method(request) == _STREAMED and not _as_events(request)
        return refusal

    def _unknown(self, call: Call) -> GoogleError:
        method = _method(call.request).replace(_STREAMED, "generateContent")
        return errors.unknown_model(call.draft.model, _version(call.request), method)

    # -- answers

    def answer(self, call: Call) -> Answer:
        """Check the request and compose its answer; raises RefusalError."""
        try:
            return self._answer(call)
        except LimitError as error:
            raise self._listed(call.request, errors.over_limit(error, call.draft.model)) from error
        except GoogleError as error:
            raise self._listed(call.request, error) from error

    def _answer(self, call: Call) -> Answer:
        if call.draft.operation == "models":
            return self._list(call)
        if call.draft.document is None:
            raise errors.invalid("Invalid JSON payload received. Unexpected token.")
        if call.draft.operation == "count_tokens":
            return self._count(call)
        if call.draft.operation == "embeddings":
            return self._embed(call)
        return self._generate(call)

    def _model(self, call: Call) -> Model:
        method = _method(call.request).replace(_STREAMED, "generateContent")
        model = self._models.find(call.draft.model)
        embeds = method in {"embedContent", "batchEmbedContents"}
        if model is None or not call.account.serves(model.name):
            raise self._unknown(call)
        if method != "countTokens" and model.embeds != embeds:
            raise self._unknown(call)
        return model

    def _generate(self, call: Call) -> Answer:
        document = read(messages.GENERATE, call.draft.document)
        checked = check(document, self._model(call))
        modalities = prompt.count(document)
        whole = modalities.total()
        if whole > checked.model.context:
            raise errors.invalid(
                f"The input token count ({whole}) exceeds the maximum number of tokens allowed "
                f"({checked.model.context})."
            )
        cached = self._admit(call, checked, whole)
        message = compose(
            checked,
            call.how,
            identity=call.upstream_request_id,
            seed=seed_of(call.request.body, self._settings.seed, call.how.seed),
            default_tokens=self._settings.default_tokens,
        )
        told = events.Told(message, modalities, cached, silent=call.how.usage == "none")
        answer = Answer([], input_tokens=whole, stop_reason=message.blocked or message.finish_reason)
        if call.draft.streamed:
            self._stream(call, answer, events.pieces(message, told, call.how))
        else:
            answer.media_type = events.JSON
            answer.body = events.unary(message, told)
            answer.usage = told.usage(message.candidates_tokens, message.thoughts_tokens)
            answer.chars = message.shown_chars
        return answer

    def _admit(self, call: Call, checked: Checked, whole: int) -> int:
        """Take the request from the account's limits; returns how much of it the account remembers."""
        minimum, cache = self._settings.cache_minimum_tokens, call.account.cache
        places = prompt.positions(checked.document, checked.model.name) if checked.model.caches else []
        split = cache.split(places, whole, minimum, call.now)
        call.account.admit(whole - split.read, call.now, call.wall)
        cache.store(places, minimum, call.now)
        return split.read

    def _stream(self, call: Call, answer: Answer, pieces: events.Pieces) -> None:
        how = call.how
        early = how.after if how.fault == Fault.END_EARLY else -1
        stream = events.EventStream() if _as_events(call.request) else events.ListStream(early)
        answer.media_type = stream.media_type
        answer.events = stream.write(pieces)
        answer.error_type = "UNAVAILABLE"
        answer.error_event = lambda: stream.error(errors.within_stream(how.error, how.message))

    def _count(self, call: Call) -> Answer:
        document = read(messages.COUNT, call.draft.document)
        modalities = prompt.count(check_count(document, self._model(call)))
        call.account.admit_count(call.now, call.wall)
        return _json({"totalTokens": modalities.total(), "promptTokensDetails": events.details(modalities)})

    def _embed(self, call: Call) -> Answer:
        batch = _method(call.request) == "batchEmbedContents"
        document = read(messages.BATCH_EMBED if batch else messages.EMBED, call.draft.document)
        model = self._model(call)
        requests = document.get("requests", []) if batch else [document]
        embedding.check_requests(requests, model.name, batch=batch)
        tokens = sum(embedding.tokens(request, model.context) for request in requests)
        call.account.admit(tokens, call.now, call.wall)
        vectors = [embedding.vector(request) for request in requests]
        told = {"embeddings": vectors} if batch else {"embedding": vectors[0]}
        answer = _json(told | {"usageMetadata": {"promptTokenCount": tokens}})
        answer.usage, answer.input_tokens = Usage(tokens), tokens
        return answer

    def _list(self, call: Call) -> Answer:
        request, item = call.request, call.draft.item
        if item:
            model = self._models.find(item)
            if model is None or not call.account.serves(model.name):
                raise errors.no_model(item, _version(request))
            return _json(model.shown())
        rows = [model for model in self._models.all() if call.account.serves(model.name)]
        return _json(page(rows, request.argument("pageSize"), request.argument("pageToken")))


def _json(value: dict[str, Any]) -> Answer:
    return Answer([], events.JSON, events.encoded(value, pretty=True) + b"\n")
