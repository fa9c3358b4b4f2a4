"""Embeddings as clients ask for them. They only ever pass untouched: no other format has anything like them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from penstock_edge.dialects.dialect import Head
from penstock_edge.dialects.openai_embeddings_fields import read_body
from penstock_edge.dialects.openai_errors import OpenAIManners
from penstock_edge.dialects.unreadable import UNREADABLE, unreadable, wrong
from penstock_edge.providers.splice import splice

if TYPE_CHECKING:
    from penstock_edge.dialects.dialect import Birth, Conversation


class EmbeddingsDialect(OpenAIManners):
    """The dialect; stateless."""

    name = "openai_embeddings"
    wire = "embeddings"

    def head(self, body: bytes) -> Head:
        """Read the head of a request. Raises ProblemError (400)."""
        try:
            found = read_body(body)
        except UNREADABLE as error:
            raise unreadable(error) from None
        if not found.model:
            raise wrong("model", "String should have at least 1 character")
        return Head(model=found.model, stream=False, max_tokens=0, session=found.user or "", prefix=())

    def forwarded(self, head: Head, body: bytes, upstream_model: str) -> bytes:
        """Return the body for an account: only the model's name may change."""
        if upstream_model == head.model:
            return body
        return splice(body, {"model": json.dumps(upstream_model).encode()})

    def read(self, head: Head, body: bytes, birth: Birth) -> Conversation:  # noqa: ARG002  # whatever it is
        """Refuse: embeddings cannot be translated."""
        raise wrong("model", "the provider of this model has no embeddings")

    def hides_usage(self, head: Head) -> bool:  # noqa: ARG002  # nothing is streamed
        """Return False: there is nothing to hide."""
        return False


DIALECT: Final = EmbeddingsDialect()
