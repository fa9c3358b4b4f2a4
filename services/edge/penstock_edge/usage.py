"""What an upstream says a request used: cumulative figures, of which later ones replace earlier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_edge.records import Usage

if TYPE_CHECKING:
    from penstock_edge.cost import Tokens
    from penstock_edge.usage_report import UsageReport

# Far above any context; a figure beyond it is nonsense, and must fit where figures are written and summed.
_MOST_TOKENS: Final = 1_000_000_000


class UsageMeter:
    """Merges the usage reports of one attempt. Values are cumulative: they replace, they never add."""

    __slots__ = (
        "_input",
        "_output",
        "_read",
        "_usage",
        "_write_1h",
        "_write_5m",
        "_written",
        "answer_id",
        "final",
        "reported",
    )

    def __init__(self) -> None:
        self.reported = False
        """The upstream has said something."""
        self.final = False
        """The upstream has said what the whole answer used."""
        self.answer_id = ""
        """What the upstream calls the answer, where requests may go on from it by that."""
        self._input = 0
        self._output = 0
        self._read = 0
        self._written: int | None = None
        self._write_5m: int | None = None
        self._write_1h: int | None = None
        self._usage: Usage | None = None

    @property
    def output_tokens(self) -> int:
        """The newest output figure."""
        return self._output

    def merge(self, report: UsageReport) -> None:
        """Take over what a report says."""
        self.reported = True
        self._usage = None
        if (tokens := report.input_tokens) is not None:
            self._input = tokens if 0 <= tokens <= _MOST_TOKENS else _sane(tokens)
        if (tokens := report.output_tokens) is not None:
            self._output = tokens if 0 <= tokens <= _MOST_TOKENS else _sane(tokens)
        if (tokens := report.cache_read_input_tokens) is not None:
            self._read = tokens if 0 <= tokens <= _MOST_TOKENS else _sane(tokens)
        if (tokens := report.cache_creation_input_tokens) is not None:
            self._written = tokens if 0 <= tokens <= _MOST_TOKENS else _sane(tokens)
        split = report.cache_creation
        if split is not None:
            if split.ephemeral_5m_input_tokens is not None:
                self._write_5m = _sane(split.ephemeral_5m_input_tokens)
            if split.ephemeral_1h_input_tokens is not None:
                self._write_1h = _sane(split.ephemeral_1h_input_tokens)

    def tokens(self) -> Tokens:
        """Return the figures as they stand. Cache writes without a stated lifetime count as five-minute ones."""
        write_1h = self._write_1h or 0
        write_5m = self._write_5m or 0
        if self._written is not None:
            write_5m = max(write_5m, self._written - write_1h)
        return self._input, self._output, self._read, write_5m, write_1h

    def usage(self) -> Usage:
        """Return the figures as a record; it is one object until the next report."""
        if self._usage is None:
            plain, output, read, write_5m, write_1h = self.tokens()
            self._usage = Usage(plain, output, read, write_5m, write_1h)
        return self._usage


def _sane(tokens: int) -> int:
    return min(max(0, tokens), _MOST_TOKENS)
