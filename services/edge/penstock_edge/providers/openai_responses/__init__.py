"""The Responses format as OpenAI's accounts speak it: every translated request to them goes through it."""

from penstock_edge.providers.openai_responses.wire import WIRE

__all__ = ["WIRE"]
