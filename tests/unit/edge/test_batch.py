from __future__ import annotations

from penstock_edge.batch import Batch
from penstock_edge.records import Admitted, Need


def batch(*names, since_ms=5):
    made = Batch("s", since_ms)
    for name in names:
        made.request.settlements.add(request_id=name, client_status=len(name))
        made.held[name] = Admitted(None, 1, Need())
    return made


def rows(batch):
    assert [row.request_id for row in batch.request.settlements] == list(batch.held)
    assert all(row.client_status == len(row.request_id) for row in batch.request.settlements)
    return list(batch.held)


def test_what_is_final_goes_and_the_rest_stays_in_order():
    some = batch("a", "bb", "ccc", "dddd")
    kept = some.held["ccc"]
    some.take_out({"a", "dddd", "elsewhere"})
    assert rows(some) == ["bb", "ccc"]
    assert some.held["ccc"] is kept
    assert some.request.edge_session == "s"
    some.take_out({"bb", "ccc"})
    assert rows(some) == []


def test_a_batch_is_split_and_joined_without_loss():
    some = batch("a", "bb", "ccc")
    rest = some.split_off(1)
    assert (rows(some), rows(rest)) == (["a"], ["bb", "ccc"])
    assert rest.request.edge_session == "s"
    rest.take_in(batch("dddd", since_ms=3))
    assert rows(rest) == ["bb", "ccc", "dddd"]
    assert (rest.since_ms, some.since_ms) == (3, 5)
