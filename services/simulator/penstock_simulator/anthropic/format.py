"""Anthropic's API behind the seam: which requests are its own, and how each operation is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from penstock_simulator.answer import Answer
from penstock_simulator.anthropic import errors, events, prompt
from penstock_simulator.anthropic.check import Checked, check, check_version
from penstock_simulator.anthropic.message import compose
from penstock_simulator.anthropic.models import Models
from penstock_simulator.behaviour import directives
from penstock_simulator.formats import Draft, bearer, models_form
from penstock_simulator.text import seed_of

if TYPE_CHECKING:
    from penstock_simulator.accounts import Account
    from penstock_simulator.behaviour import Behaviour
    from penstock_simulator.cache import Split
    from penstock_simulator.connection import Request
    from penstock_simulator.formats import Call
    from penstock_simulator.refusal import RefusalError
    from penstock_simulator.settings import SimulatorSettings

_POSTS = {"/v1/messages": "messages", "/v1/messages/count_tokens": "count_tokens"}
_LIST = "/v1/models"


class AnthropicFormat:
    """The Messages API."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._models = Models(settings.models)
        self._decoder = msgspec.json.Decoder()

    def draft(self, request: Request) -> Draft | None:
        """Return what the request is as far as it can be read; None for paths of others."""
        path = request.path
        operation = _POSTS.get(path)
        if operation is not None and request.method == "POST":
            return self._posted(request, operation)
        if request.method == "GET" and (path == _LIST or path.startswith(_LIST + "/")):
            mine = models_form(request) == "anthropic"
            return Draft("models", "anthropic", item=path[len(_LIST) + 1 :]) if mine else None
        return None

    def _posted(self, request: Request, operation: str) -> Draft:
        draft = Draft(operation, "anthropic")
        try:
            draft.document = self._decoder.decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return draft
        if isinstance(draft.document, dict):
            name = draft.document.get("model")
            draft.model, _, suffix = name.partition("@") if isinstance(name, str) else ("", "", "")
            if suffix:
                draft.hints.append(suffix)
                draft.document["model"] = draft.model
            draft.streamed = draft.document.get("stream") is True and operation == "messages"
            draft.hints += directives(prompt.last_user_text(draft.document))
        return draft

    def credential(self, request: Request) -> str | None:
        """x-api-key goes before Authorization, as with the real one."""
        return request.header("x-api-key") or bearer(request)

    def headers(self, upstream_request_id: str, account: Account | None) -> list[tuple[str, str]]:
        """Return what every answer carries; also what a gateway must not pass on."""
        result = [
            ("request-id", upstream_request_id),
            ("cf-ray", "0123456789abcdef-SIM"),
            ("set-cookie", "__cf_bm=simulated; path=/; HttpOnly"),
        ]
        if account is not None:
            result.append(("anthropic-organization-id", account.organization))
        return result

    def refusal(self, status: int, call: Call) -> RefusalError:
        """Return the usual error of a status; a 404 names the model."""
        return errors.unknown_model(call.draft.model) if status == 404 and call.draft.model else errors.usual(status)

    def credit_too_low(self) -> RefusalError:
        """Return the 400 of an account without credit."""
        return errors.invalid(errors.CREDIT)

    def unknown_credential(self, request: Request) -> RefusalError:
        """Return the 401."""
        refusal = errors.usual(401)
        if not self.credential(request):
            refusal.message = "x-api-key header is required"
        elif not request.header("x-api-key"):
            refusal.message = "invalid bearer token"
        return refusal

    def error_body(self, refusal: RefusalError, upstream_request_id: str) -> bytes:
        """Return the error envelope."""
        return errors.body(refusal.kind, refusal.message, upstream_request_id)

    def answer(self, call: Call) -> Answer:
        """Check the request and compose its answer; raises RefusalError."""
        if call.draft.operation == "models":
            return self._list(call)
        if call.draft.document is None:
            check_version(call.request)
            raise errors.invalid("The request body is not valid JSON")
        counting = call.draft.operation == "count_tokens"
        checked = check(call.request, call.draft.document, self._models, call.account, counting=counting)
        whole = prompt.count(checked.document)
        if whole > checked.model.context:
            raise errors.invalid(f"prompt is too long: {whole} tokens > {checked.model.context} maximum")
        if counting:
            call.account.admit_count(call.now, call.wall)
            return Answer(call.account.headers(call.now, call.wall), body=_json({"input_tokens": whole}))
        split = self._admit(call, checked, whole)
        return self._message(call, checked, split, whole)

    def _admit(self, call: Call, checked: Checked, whole: int) -> Split:
        """Take the request from the account's limits, then let the cache remember it."""
        minimum, cache = self._settings.cache_minimum_tokens, call.account.cache
        places = prompt.positions(checked) if checked.marked else []
        split = cache.split(places, whole, minimum, call.now)
        call.account.admit(whole - split.read, call.now, call.wall)
        if places:
            cache.store(places, minimum, call.now)
        return split

    def _message(self, call: Call, checked: Checked, split: Split, whole: int) -> Answer:
        how: Behaviour = call.how
        message = compose(
            checked,
            how,
            identity=call.upstream_request_id.removeprefix("req_sim_"),
            seed=seed_of(call.request.body, self._settings.seed, how.seed),
            default_tokens=self._settings.default_tokens,
        )
        answer = Answer(call.account.headers(call.now, call.wall), input_tokens=whole, stop_reason=message.stop_reason)
        if call.draft.streamed:
            answer.media_type = "text/event-stream; charset=utf-8"
            answer.events = events.stream(message, split, how)
            answer.error_event = errors.event(how.error or "overloaded_error", how.message, call.upstream_request_id)
        else:
            answer.body = events.unary(message, split)
            answer.usage = events.told(split, message.output_tokens)
            answer.chars = message.chars
        return answer

    def _list(self, call: Call) -> Answer:
        check_version(call.request)
        rows = [model for model in self._models.all() if call.account.serves(model.name)]
        item = call.draft.item
        if item:
            model = self._models.find(item)
            if model is None or not call.account.serves(model.name):
                raise errors.unknown_model(item)
            return Answer([], body=_json(model.shown()))
        request = call.request
        page = self._models.page(
            rows, request.argument("limit"), request.argument("after_id"), request.argument("before_id")
        )
        return Answer([], body=_json(page))


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)
