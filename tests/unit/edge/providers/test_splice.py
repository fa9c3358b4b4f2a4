"""Only what is to change changes, wherever it stands."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.providers import splice as splicing
from penstock_edge.providers.splice import splice, splice_model


@pytest.mark.parametrize(
    ("body", "spliced"),
    [
        (b'{"model":"a"}', b'{"model":"new"}'),
        (b' {\n "x" : 1 , "model" :\t"a" } ', b' {\n "x" : 1 , "model" :\t"new" } '),
        (b'{"messages":[{"model":"a"}],"model":"a"}', b'{"messages":[{"model":"a"}],"model":"new"}'),
        (b'{"x":"\\"model\\":\\"a\\"","model":"a"}', b'{"x":"\\"model\\":\\"a\\"","model":"new"}'),
        (b'{"x":"model","model":"a","y":"model"}', b'{"x":"model","model":"new","y":"model"}'),
        (b'{"x":{"model":"a"},"model":"a"}', b'{"x":{"model":"a"},"model":"new"}'),
        (b'{"x":"}{","model":"a"}', b'{"x":"}{","model":"new"}'),
        (b'{"mod\\u0065l":"a"}', b'{"mod\\u0065l":"new"}'),
        (b'{"model":"a","model":"b"}', b'{"model":"a","model":"new"}'),
        (b'{"x":["model","a"],"model":"\\\\"}', b'{"x":["model","a"],"model":"new"}'),
    ],
)
def test_where_the_model_stands(body, spliced):
    assert splice_model(body, "new") == spliced


def test_a_name_is_escaped():
    assert json.loads(splice_model(b'{"model":"a"}', 'q"\\é')) == {"model": 'q"\\é'}


@pytest.mark.parametrize("body", [b"{}", b'{"x":{"model":"a"}}', b'["model","a"]'])
def test_no_model(body):
    with pytest.raises(ValueError, match="no model"):
        splice_model(body, "new")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just("model"),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text() | st.just("model"), x, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), values, max_size=4), st.text(min_size=1), st.booleans(), st.sampled_from([None, 2]))
def test_any_body(fields, name, ascii_only, indent):
    fields = {**fields, "model": "old"}
    body = json.dumps(fields, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    spliced = splice_model(body, name)
    assert json.loads(spliced.decode("utf-8", "surrogatepass")) == {**fields, "model": name}
    assert splice_model(spliced, "old") == body


@pytest.mark.parametrize(
    ("body", "values", "spliced"),
    [
        (b"{}", {"a": b"1"}, b'{"a":1}'),
        (b" { } ", {"a": b"1"}, b' {"a":1 } '),
        (b'{"b":2}', {"a": b"1"}, b'{"a":1,"b":2}'),
        (b'{ "b":2}', {"a": b"1", "b": b"{}"}, b'{"a":1, "b":{}}'),
        (b'{"a": [1, {"a": 2}] , "b": {"a": 3}}', {"a": b"null"}, b'{"a": null , "b": {"a": 3}}'),
        (b'{"b": {"a": 3}, "a" : true}', {"a": b"false"}, b'{"b": {"a": 3}, "a" : false}'),
        (b'{"a": 1, "a": 1.5e3 }', {"a": b"2"}, b'{"a": 1, "a": 2 }'),
        (b'{"b": ["a", 1], "a": "x"}', {"a": b"2"}, b'{"b": ["a", 1], "a": 2}'),
        (b'{"b": "\\"a\\": 1", "\\u0061": 1}', {"a": b"2"}, b'{"b": "\\"a\\": 1", "\\u0061": 2}'),
        (b'{"b": {"a": 1}, "a": 1}', {"a": b"2"}, b'{"b": {"a": 1}, "a": 2}'),
        (b'{"a": 1, "b": {"a": 1}, "a": 1}', {"a": b"2"}, b'{"a": 1, "b": {"a": 1}, "a": 2}'),
    ],
)
def test_members_are_replaced_or_put_first(body, values, spliced):
    assert splice(body, values) == spliced


def test_no_object():
    with pytest.raises(ValueError, match="no object"):
        splice(b"[]", {"a": b"1"})


@given(st.dictionaries(st.sampled_from("abc") | st.text(), values, max_size=4), values, st.sampled_from([None, 2]))
def test_any_member(fields, value, indent):
    body = json.dumps(fields, indent=indent).encode()
    assert json.loads(splice(body, {"a": json.dumps(value).encode()})) == {**fields, "a": value}


@given(st.dictionaries(st.sampled_from("abc") | st.text(), values, max_size=4), st.sampled_from([None, 2]))
def test_the_guess_and_the_careful_look_agree(fields, indent):
    body = json.dumps({**fields, "a": [1, {"a": "{"}]}, indent=indent).encode()
    begin, end = splicing._span(body, "a")
    assert body[:begin] + b"2" + body[end:] == splice(body, {"a": b"2"})
