from __future__ import annotations

from penstock.auth.v1 import auth_pb2
from penstock_edge.batch import Batch
from penstock_edge.records import Admitted, Need

HEAD = auth_pb2.SettleRequest(edge_session="s").SerializeToString()


def batch(*names, since_ms=5):
    made = Batch(since_ms)
    for name in names:
        row = auth_pb2.Settlement(request_id=name, client_status=len(name))
        message = auth_pb2.SettleRequest(settlements=[row]).SerializeToString()
        made.add(name, message, Admitted(None, 1, Need()))
    return made


def rows(batch):
    request = auth_pb2.SettleRequest.FromString(batch.request(HEAD))
    assert request.edge_session == "s"
    assert [row.request_id for row in request.settlements] == list(batch.held)
    assert all(row.client_status == len(row.request_id) for row in request.settlements)
    return list(batch.held)


def test_what_is_final_goes_and_the_rest_stays_in_order():
    some = batch("a", "bb", "ccc", "dddd")
    kept = some.held["a"]
    assert some.take_out("a") is kept
    assert some.take_out("dddd") is not None
    assert some.take_out("elsewhere") is None
    assert rows(some) == ["bb", "ccc"]
    some.take_out("bb")
    some.take_out("ccc")
    assert rows(some) == []


def test_a_batch_is_split_and_joined_without_loss():
    some = batch("a", "bb", "ccc")
    rest = some.split_off(1)
    assert (rows(some), rows(rest)) == (["a"], ["bb", "ccc"])
    rest.take_in(batch("dddd", since_ms=3))
    assert rows(rest) == ["bb", "ccc", "dddd"]
    assert (rest.since_ms, some.since_ms) == (3, 5)
