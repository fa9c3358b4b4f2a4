"""The Responses format as clients speak it: the openai SDKs' `responses.create`, and Codex."""

from penstock_edge.dialects.openai_responses.dialect import DIALECT
from penstock_edge.dialects.openai_responses.head import ResponsesHead

__all__ = ["DIALECT", "ResponsesHead"]
