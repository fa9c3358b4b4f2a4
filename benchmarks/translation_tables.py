"""What translation costs in process, as Markdown."""

from __future__ import annotations

from asked import WIRES

CHUNK_GOAL = 40.0
"""CPU microseconds."""
LARGE_GOAL = 25.0
"""CPU milliseconds."""

CLIENTS = {"messages": "anthropic", "chat": "openai_chat", "responses": "openai_responses", "generate": "gemini"}
WAYS = [(spoken, wire) for wire in WIRES for spoken in sorted(WIRES, key=lambda one: one != wire)]
"""Every client's way to every account; bytes that pass come first."""
CHUNKS = {"text": "text", "tool arguments": "tool arguments"}
LARGE = {
    "blocks": "blocks of 250 bytes in 9 messages",
    "messages": "4,000 messages of 250 bytes",
    "tool turns": "2,000 tool calls with results",
}
STEPS = ("head", "read", "write", "answer", "all")
LARGE_STEPS = ("head", "read", "write", "release")


class Tables:
    """Writes figures (CPU nanoseconds by step) of every way and everything that was measured on it."""

    def __init__(self, figures: dict[tuple[str, str, str], dict[str, float]]) -> None:
        self._figures = figures

    def page(self) -> str:
        """Return all tables."""
        return f"{self._small()}\n\n{self._chunks()}\n\n{self._large()}"

    def _small(self) -> str:
        rows = []
        for spoken, wire in WAYS:
            figures = self._figures[spoken, wire, "small"]
            cells = [f"{figures[step] / 1e3:.1f}" if step in figures else "–" for step in STEPS]
            rows.append([*_names(spoken, wire), *cells, self._times(spoken, wire, "small")])
        titles = ["client", "account", *STEPS, "× passing"]
        return _table("One request of 1 KB and its answer, CPU µs", titles, rows)

    def _chunks(self) -> str:
        rows = []
        for spoken, wire in WAYS:
            cells = []
            for what in CHUNKS:
                figures = self._figures.get((spoken, wire, what))
                cells += ["–" if figures is None else f"{figures['all'] / 1e3:.1f}", self._times(spoken, wire, what)]
            rows.append([*_names(spoken, wire), *cells])
        table = _table("One streamed chunk, CPU µs", _beside(CHUNKS), rows)
        return f"{table}\n\nBeyond {CHUNK_GOAL:g} µs: {self._beyond(CHUNK_GOAL * 1e3, CHUNKS)}."

    def _large(self) -> str:
        rows = []
        for spoken, wire in WAYS:
            cells = []
            for what in LARGE:
                figures = self._figures[spoken, wire, what]
                steps = " + ".join(f"{figures[step] / 1e6:.1f}" for step in LARGE_STEPS if step in figures)
                cells += [f"{figures['all'] / 1e6:.1f} ({steps})", self._times(spoken, wire, what)]
            rows.append([*_names(spoken, wire), *cells])
        table = _table(
            f"One request of 1 MB without its answer, CPU ms ({' + '.join(LARGE_STEPS)})", _beside(LARGE), rows
        )
        return f"{table}\n\nBeyond {LARGE_GOAL:g} ms: {self._beyond(LARGE_GOAL * 1e6, LARGE)}."

    def _times(self, spoken: str, wire: str, what: str) -> str:
        """Return the ratio to bytes that pass in the account's format."""
        figures, passing = (self._figures.get((one, wire, what)) for one in (spoken, wire))
        return "–" if figures is None or passing is None or spoken == wire else f"{figures['all'] / passing['all']:.1f}"

    def _beyond(self, nanoseconds: float, whats: dict[str, str]) -> str:
        over = [
            f"{CLIENTS[spoken]} to {wire} ({what})"
            for (spoken, wire, what), figures in self._figures.items()
            if what in whats and figures["all"] > nanoseconds
        ]
        return ", ".join(over) or "none"


def _names(spoken: str, wire: str) -> list[str]:
    return [CLIENTS[spoken] + (" (passes)" if spoken == wire else ""), wire]


def _beside(whats: dict[str, str]) -> list[str]:
    return ["client", "account", *(title for what in whats.values() for title in (what, "× passing"))]


def _table(heading: str, titles: list[str], rows: list[list[str]]) -> str:
    title, *lines = (f"| {' | '.join(cells)} |" for cells in (titles, *rows))
    return "\n".join([f"### {heading}\n", title, "|---" * len(titles) + "|", *lines])
