"""The Gemini API as clients speak it: generateContent, streamGenerateContent and countTokens."""

from penstock_edge.dialects.gemini.dialect import DIALECT
from penstock_edge.dialects.gemini.head import GeminiHead

__all__ = ["DIALECT", "GeminiHead"]
