import re

from penstock_simulator.openai import identities


def test_ids_have_the_prefixes_and_lengths_of_the_real_ones():
    assert re.fullmatch(r"chatcmpl-\w{24,}", identities.completion_id("x"))
    assert re.fullmatch(r"call_[0-9a-f]{24}", identities.call_id("x", 0))
    assert re.fullmatch(r"resp_[0-9a-f]{48}", identities.response_id("x"))
    for prefix in ("msg", "rs", "fc", "ctc", "ws"):
        assert re.fullmatch(prefix + r"_[0-9a-f]{48}", identities.item_id(prefix, "x", 0, reasoned=False))


def test_ids_differ():
    ids = {identities.item_id("fc", one, index, reasoned=True) for one in "xyz" for index in range(3)}
    ids |= {identities.call_id(one, index) for one in "xyz" for index in range(3)}
    assert len(ids) == 18


def test_an_item_tells_its_reasoning():
    needed = identities.needs_reasoning(identities.item_id("msg", "x", 1, reasoned=True))
    assert identities.item_id("rs", "x", 0, reasoned=False).startswith(needed)
    assert not identities.item_id("rs", "y", 0, reasoned=False).startswith(needed)
    for other in (identities.item_id("msg", "x", 1, reasoned=False), "msg_1", "fc_" + "0" * 48, ""):
        assert identities.needs_reasoning(other) is None
