"""The Gemini API as accounts speak it: requests written, answers, streams and errors read. Pure."""

from penstock_edge.providers.gemini.wire import WIRE

__all__ = ["WIRE"]
