"""The text of API keys: shape, checksum and what may be shown."""

import hashlib
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_catalog import api_key

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def random_bytes(seed: bytes):
    return lambda count: hashlib.shake_256(seed).digest(count)


KEY = api_key.generate("psk_", random_bytes(b"fixed"))
prefixes = st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True)


@given(prefixes, st.binary(max_size=16))
def test_a_generated_key_is_well_formed_and_shows_prefix_and_id_only(prefix, seed):
    key = api_key.generate(prefix, random_bytes(seed))
    assert api_key.well_formed(key.text)
    assert api_key.shown(key.text) == key.shown == prefix + key.id
    assert api_key.public_id(key.text) == key.id
    assert key.text.startswith(f"{prefix}{key.id}_")
    assert key.digest == api_key.digest(key.text) == hashlib.sha256(key.text.encode()).digest()


@given(st.data())
def test_one_wrong_character_breaks_the_checksum(data):
    at = data.draw(st.integers(0, len(KEY.text) - 1))
    other = data.draw(st.sampled_from(sorted(set(BASE62) - {KEY.text[at]})))
    assert not api_key.well_formed(KEY.text[:at] + other + KEY.text[at + 1 :])


@given(st.integers(0, len(KEY.text) - 2))
def test_two_swapped_characters_break_the_checksum(at):
    a, b = KEY.text[at : at + 2]
    swapped = KEY.text[:at] + b + a + KEY.text[at + 2 :]
    assert api_key.well_formed(swapped) is (a == b)


@given(st.text(max_size=80))
def test_other_text_is_neither_well_formed_nor_shown(text):
    assert not api_key.well_formed(text)
    assert api_key.shown(text) == api_key.public_id(text) == ""
    assert len(api_key.digest(text)) == 32


@pytest.mark.parametrize(
    "text",
    [
        "",
        "psk_",
        "sk-ant-api03-abc",
        KEY.text + "\n",
        " " + KEY.text,
        KEY.text[:-1],
        KEY.text + "0",
        "psk_\ud800",
        "é" * 60,
    ],
)
def test_near_misses_are_refused(text):
    assert not api_key.well_formed(text)
    api_key.digest(text)


def test_the_secret_part_carries_160_bits_and_does_not_repeat():
    keys = [api_key.generate("psk_", secrets.token_bytes) for _ in range(200)]
    assert len({key.text for key in keys}) == len({key.id for key in keys}) == 200
    body = keys[0].text.rpartition("_")[2][:-6]
    assert 62 ** len(body) >= 2**160
    used = set("".join(key.text.rpartition("_")[2][:-6] for key in keys))
    assert used == set(BASE62)


@pytest.mark.parametrize("prefix", ["", "a b", "é", "x" * 33, "a.b"])
def test_a_prefix_that_no_key_could_have_is_refused(prefix):
    with pytest.raises(ValueError, match="prefix"):
        api_key.generate(prefix, secrets.token_bytes)


def test_a_key_does_not_show_in_its_repr():
    assert KEY.text not in repr(KEY)
    assert KEY.id in repr(KEY)


@pytest.mark.parametrize("text", [KEY.text, KEY.shown, KEY.id, f"my-team-{KEY.id}"])
def test_the_id_that_a_person_means(text):
    assert api_key.meant_id(text) == KEY.id


@given(st.data())
def test_no_mistyped_or_cut_key_gives_a_part_of_its_secret(data):
    end = data.draw(st.integers(len(KEY.shown) + 1, len(KEY.text) - 1))
    at = data.draw(st.integers(0, end - 1))
    cut, other = KEY.text[:end], data.draw(st.sampled_from(["", "_", "-", " ", "é", "A", "aa"]))
    assert api_key.meant_id(cut) == ""
    meant = api_key.meant_id(cut[:at] + other + cut[at + 1 :])
    assert meant in {"", api_key.public_id(cut)} or meant not in KEY.text
