"""The section about relaying, from the rows of one run. No figure in it comes from anywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import goals
from figures import FLOOR, Figures, shown
from gateways import FORMATS
from plan import PATIENCE_SECONDS, TAKING_PART
from plots import PLOTS, plots

if TYPE_CHECKING:
    from figures import Document
    from plan import Case

HOW = """Each gateway has core {gateway_core} for itself while it is measured, and the others sleep; upstream, load generator and Penstock's other processes share core {other_core}. \
A round measures every case of every gateway, the gateways one right after another; each round begins with another one. \
Figures are medians of the rounds, with the least in parentheses; `× nginx` compares the least with the least in the same format, of the same run. \
CPU is user and system time of the gateway's processes, as the scheduler counts it. Unary answers have 0.5 KB, streams 50 chunks; unpaced ones are written at once, chunk by chunk, \
paced ones with 100 ms to the first byte and 10 ms between chunks. Each connection asks again as soon as it has its answer, so that latency with many connections is mostly waiting for one's turn. \
Where requests come at a rate instead, everybody does the same work in the same time, and core {other_core} has pauses: whoever sends something has to wake it up, which costs a virtual machine much. \
At their own pace the fastest never let it sleep."""
VERDICTS = "Judged by the medians. *Met by the least*: what was measured in the round that others disturbed least is within the goal, the median is not."
SLOW = f"slow: one request on each connection would take it more than {PATIENCE_SECONDS:g} s of CPU, or a second's requests more than a second"


def section(document: Document) -> str:
    """Return the whole section."""
    figures = Figures(document["rows"])
    parts = [
        _circumstances(document, figures),
        f"### Goals\n\n{VERDICTS}\n\n"
        + goals.table(goals.judged(document), goals.judged(document, "penstock-compiled")),
        *(f"![{PLOTS[name]}](plots/{name}.svg)" for name in plots(document)),
        "### Who takes part\n\n" + _gateways(document),
    ]
    for form, words in FORMATS.items():
        for kind in figures.kinds(form):
            cases = figures.cases(form, kind)
            parts.append(f"### {words}, {kind}\n\n" + _cpu(document, figures, cases))
            parts.append(_latency(figures, cases))
    return "\n\n".join([*parts, _memory(document)])


def _circumstances(document: Document, figures: Figures) -> str:
    made = document["made"]
    others = figures.others()
    meanwhile = "" if others is None else f" Others used {others * 100:.0f} % of the gateways' core meanwhile (median)."
    return (
        f"{made['date']}, {made['machine']}. {_rounds(made)}"
        f"{', a quick run of few cases' if made['quick'] else ''}.{meanwhile}{_traced(document)}\n\n"
        + HOW.format(gateway_core=made["gateway_core"], other_core=made["other_core"])
    )


def _rounds(made: Document) -> str:
    rounds = "One round" if made["rounds"] == 1 else f"{made['rounds']} rounds"
    of = f"{rounds} of {made['seconds']:g} s a case"
    judged = made.get("judged_rounds", made["rounds"])
    return of if judged == made["rounds"] else f"{of}, {judged} of those that goals are about"


def _traced(document: Document) -> str:
    made = document["made"]
    if not any(known["name"] == "penstock" for known in document["gateways"]):
        return ""
    if not made["traces"]:
        return " Penstock exported no traces."
    return f" Penstock traced {made['sampled']} of its requests ({made['traces']} exports arrived)."


def _gateways(document: Document) -> str:
    lines = [
        "| gateway | version | on here | keys, limits, ledger | memory MB, idle | after | requests measured |",
        "|---|---|---|---|---|---|---|",
    ]
    for known in document["gateways"]:
        if "failed" in known:
            lines.append(f"| {known['name']} | could not be run | {_cell(known['failed'])} | | | | |")
            continue
        cells = (known["name"], known["version"], known["on"], known["equivalent"], known["idle_mb"])
        lines.append(
            "| " + " | ".join(map(str, [*cells, known.get("after_mb", "–"), known.get("requests", "–")])) + " |"
        )
    note = (
        "Penstock's figures are those of its edge; auth, router and admin API are beside it. Memory is resident, of the "
        "processes whose CPU is measured, before the first request and after the last one."
    )
    return "\n".join(lines) + f"\n\n{note}"


def _cpu(document: Document, figures: Figures, cases: list[Case]) -> str:
    unit = "chunk" if cases[0].streams else "request"
    heads = [f"{case.connections} connection{'s' if case.connections > 1 else ''}" for case in cases]
    lines = [f"| CPU µs per {unit} | " + " | ".join(heads) + " |", "|---|" + "---|" * len(cases)]
    lines += [
        f"| {name} | " + " | ".join(_spent(document, figures, case, name) for case in cases) + " |"
        for name in _names(document, cases[0])
    ]
    if any(figures.why_none(case, name) == "slow" for case in cases for name in figures.gateways(case)):
        lines.append(f"\n{SLOW}.")
    return "\n".join(lines)


def _names(document: Document, case: Case) -> list[str]:
    asked = {known["name"] for known in document["gateways"]}
    return [name for name in TAKING_PART[case.form] if name in asked]


def _spent(document: Document, figures: Figures, case: Case, name: str) -> str:
    if any(known["name"] == name and "failed" in known for known in document["gateways"]):
        return "could not be run"
    why = figures.why_none(case, name)
    if why is not None:
        return why if why == "slow" else f"none succeeded: {_cell(why)}"
    median, least = figures.median(case, name, "cpu_us"), figures.least(case, name, "cpu_us")
    digits = 1 if (median or 0) < 100 else 0
    words = f"{shown(median, digits)} ({shown(least, digits)})"
    times = figures.times(case, name)
    return words if name == FLOOR or times is None else f"{words} · {times:.2f} ×"


def _latency(figures: Figures, cases: list[Case]) -> str:
    streams = cases[0].streams
    first = "first chunk ms" if streams else "p50 / p99 ms"
    transit = ", transit p50 / p99 ms" if streams else ""
    heads = [f"{case.connections}: {first}{transit}" for case in cases]
    single = cases[0].connections == 1
    added = f" | 1: added {'first chunk' if streams else 'p50 / p99'} ms" if single else ""
    busiest = cases[-1]
    title = f"| latency | {' | '.join(heads)}{added} | {busiest.connections}: requests/s | errors |"
    lines = [title, "|---|" + "---|" * (len(cases) + 2 + single)]
    for name in figures.gateways(cases[0]):
        cells = [_times(figures, case, name) for case in cases]
        if single:
            cells.append(_added(figures, cases[0], name))
        cells.append(shown(figures.median(busiest, name, "rps"), 0))
        cells.append(str(sum(figures.errors(case, name) for case in cases)))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _times(figures: Figures, case: Case, name: str) -> str:
    def of(what: str) -> str:
        return shown(figures.median(case, name, what))

    if case.streams:
        return f"{of('first_ms')}, {of('transit_ms')} / {of('transit99_ms')}"
    return f"{of('p50_ms')} / {of('p99_ms')}"


def _added(figures: Figures, case: Case, name: str) -> str:
    if name == "direct":
        return "–"
    if case.streams:
        return shown(figures.added(case, name, "first_ms"), 3)
    return f"{shown(figures.added(case, name, 'p50_ms'), 3)} / {shown(figures.added(case, name, 'p99_ms'), 3)}"


def _memory(document: Document) -> str:
    found = document.get("open_streams")
    if not found or not found["mb"]:
        return ""
    lines = [
        f"### {found['streams']:,} open streams\n",
        f"A chunk a second in each. They are opened, held for {found['seconds']:g} s and cut, {len(next(iter(found['mb'].values())))} times.\n",
        "| gateway | MB resident before | highest, each time | lowest, each time | proportional set at last |",
        "|---|---|---|---|---|",
    ]
    for name, readings in found["mb"].items():
        highest = " · ".join(f"{max(reading):.1f}" for reading in readings)
        lowest = " · ".join(f"{min(reading):.1f}" for reading in readings)
        proportional = shown(found["proportional_mb"].get(name), 1)
        lines.append(f"| {name} | {found['idle_mb'][name]:.1f} | {highest} | {lowest} | {proportional} |")
    lines.append("\nThe proportional set divides pages that several processes share, such as libraries, among them.")
    return "\n".join(lines)


def _cell(words: str) -> str:
    return words.replace("|", "/").replace("\n", " ")[:120]
