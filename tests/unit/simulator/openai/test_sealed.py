import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_simulator.openai.sealed import SealError, seal, unseal


@given(st.text(max_size=200), st.integers(0, 2**32 - 1))
def test_what_was_issued_is_known_again(reasoning, tokens):
    assert unseal("org", seal("org", reasoning, tokens)) == tokens


@given(st.data())
def test_one_other_character_is_noticed(data):
    sealed = seal("org", "thought", 7)
    at = data.draw(st.sampled_from([len(sealed) - 2, *range(len(sealed))]))
    other = data.draw(st.sampled_from("AQgwBRhxCSiyDTjz0-_=é\n"))
    changed = sealed[:at] + other + sealed[at + 1 :]
    if changed != sealed:
        with pytest.raises(SealError, match="could not be decrypted or parsed"):
            unseal("org", changed)


@pytest.mark.parametrize("content", ["", "gAAAAAB", "gAAAAABAAAA", "thought", "gAAAAAB====", seal("org", "x", 1)[:-4]])
def test_what_was_never_issued(content):
    with pytest.raises(SealError, match="could not be decrypted or parsed"):
        unseal("org", content)


def test_another_organization_is_told_so():
    with pytest.raises(SealError, match="organization_id did not match"):
        unseal("other", seal("org", "thought", 7))


def test_it_grows_with_the_reasoning_and_shows_nothing_of_it():
    long = seal("org", "secret thought " * 100, 375)
    assert len(long) > 1500
    assert "secret" not in long
