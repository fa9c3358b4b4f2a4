"""Every wire format that the simulator plays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_simulator.anthropic.format import AnthropicFormat
from penstock_simulator.gemini.format import GeminiFormat
from penstock_simulator.openai.format import OpenAIFormat

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_simulator.formats import WireFormat
    from penstock_simulator.settings import SimulatorSettings

# A new format is one line here (and its import) and nothing else anywhere: each is made with the settings, and claims
# its own requests in `draft`. The order does not matter, because no two claim the same request.
FORMATS: tuple[Callable[[SimulatorSettings], WireFormat], ...] = (AnthropicFormat, OpenAIFormat, GeminiFormat)
