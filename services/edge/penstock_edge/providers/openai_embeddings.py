"""Embeddings as accounts speak them: bytes pass, usage is read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from penstock_edge.canonical import UnreadableError
from penstock_edge.errors import ProblemError, invalid
from penstock_edge.providers.openai_chat import ChatWire
from penstock_edge.providers.openai_chat_usage import UNREADABLE, report_of
from penstock_edge.providers.openai_embeddings_fields import read_whole
from penstock_routing import outcomes

if TYPE_CHECKING:
    from penstock_edge.canonical import Message, Request
    from penstock_edge.providers.failure import Failure
    from penstock_edge.providers.openai_chat_stream import ChatParser
    from penstock_edge.providers.wire import Addressee, Headers, Written
    from penstock_edge.usage import UsageMeter


class EmbeddingsWire(ChatWire):
    """The wire format; stateless. Heads and errors are those of chat.completions, and nothing is translated."""

    name = "embeddings"

    def path(self, model: str, *, streamed: bool, counting: bool) -> bytes:  # noqa: ARG002  # one path for all
        """Return the path below the account's base URL."""
        return b"/embeddings"

    def read_answer(self, body: bytes, meter: UsageMeter) -> bool:
        """Take over the usage of an answer; False when the body cannot be one."""
        try:
            answer = read_whole(body)
        except UNREADABLE:
            return False
        if bytes(answer.error) not in {b"", b"null"} or not bytes(answer.data).startswith(b"["):
            return False
        report = report_of(answer.usage)
        if report is not None:
            report.output_tokens = report.output_tokens or 0
            meter.merge(report)
            meter.final = True
        return True

    def write(self, request: Request, to: Addressee, *, streamed: bool) -> Written:  # noqa: ARG002  # whatever it is
        """Refuse: nothing can be translated into embeddings."""
        raise ProblemError(invalid("model: the provider of this model offers embeddings only"))

    def parse(self, body: bytes) -> Message:  # noqa: ARG002  # whatever it is
        """Refuse: an embedding is no message."""
        raise UnreadableError

    def parser(self) -> ChatParser:
        """Refuse: nothing is streamed."""
        raise UnreadableError

    def of_status(self, status: int, headers: Headers, body: bytes) -> Failure:
        """Return what an error answer means.

        A model that is refused here may well serve chats, so it does not go out of use: the next account is asked, and
        if none does it, the client is told.
        """
        failure = super().of_status(status, headers, body)
        if failure.cls not in {outcomes.MODEL_MISSING, outcomes.FORBIDDEN}:
            return failure
        refusal = invalid("model: the provider makes no embeddings with this model", status=404)
        return replace(failure, fault=refusal, blames_account=False)


WIRE: Final[EmbeddingsWire] = EmbeddingsWire()
