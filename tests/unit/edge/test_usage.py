"""Figures that upstreams report, as they come: cumulative, partly absent, and sometimes nonsense."""

from __future__ import annotations

import msgspec
import pytest

from penstock_edge.records import AttemptRecord, Closed, Usage
from penstock_edge.segments import frame
from penstock_edge.usage import UsageMeter
from penstock_edge.usage_report import UsageReport

FIELDS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def metered(*reports: str) -> Usage:
    meter = UsageMeter()
    for report in reports:
        meter.merge(msgspec.json.decode(report, type=UsageReport))
    return meter.usage()


@pytest.mark.parametrize(
    ("reports", "usage"),
    [
        (['{"input_tokens":20,"output_tokens":1}', '{"output_tokens":9}'], Usage(20, 9)),
        (['{"input_tokens":20,"output_tokens":5}', '{"output_tokens":9,"input_tokens":22}'], Usage(22, 9)),
        (['{"input_tokens":20,"output_tokens":1}', '{"output_tokens":9,"input_tokens":null}'], Usage(20, 9)),
        (['{"cache_creation_input_tokens":30}'], Usage(cache_write_5m_input_tokens=30)),
        (
            ['{"cache_creation_input_tokens":30,"cache_creation":{"ephemeral_1h_input_tokens":20}}'],
            Usage(cache_write_5m_input_tokens=10, cache_write_1h_input_tokens=20),
        ),
        (['{"cache_creation":null,"cache_read_input_tokens":4}'], Usage(cache_read_input_tokens=4)),
    ],
)
def test_later_figures_replace_earlier_ones(reports: list[str], usage: Usage) -> None:
    assert metered(*reports) == usage


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("nonsense", [10**20, 2**63, 10**12])
def test_a_figure_beyond_any_context_still_fits_where_it_is_written(field: str, nonsense: int) -> None:
    usage = metered(f'{{"{field}":{nonsense}}}')
    assert 0 < usage.whole_input + usage.output_tokens < 2**31
    assert framed(usage)


@pytest.mark.parametrize("field", FIELDS)
def test_a_negative_figure_is_none(field: str) -> None:
    assert metered(f'{{"{field}":-5}}') == Usage()


def framed(usage: Usage) -> bytes:
    attempt = AttemptRecord(index=0, account="a", cls="Ok", status=200, usage=usage)
    return frame(
        Closed(
            request_id="req_1",
            state="complete",
            estimated=False,
            delivered=0,
            attempts=[attempt],
            ended_at_ms=1,
            client_status=200,
        )
    )
