import pytest

from penstock_simulator.behaviour import PLAIN, DirectiveError, behaviour, directives, duration, parse, read_fields


@pytest.mark.parametrize(
    ("text", "seconds"), [("200ms", 0.2), ("1.5s", 1.5), ("2m", 120), ("3", 3), (".5", 0.5), (7, 7), ("50us", 5e-5)]
)
def test_duration(text, seconds):
    assert duration(text) == pytest.approx(seconds)


def test_directives_are_found_anywhere_in_order():
    found = directives("a [[sim: fault=529]] b\n[[sim:\n tokens=5, pace=1ms; split]] c")
    assert [parse(one) for one in found] == [{"fault": "529"}, {"tokens": "5", "pace": "1ms", "split": "true"}]
    assert directives("no [sim: x]") == []


def test_quoted_words_keep_their_blanks():
    assert parse('say="two words" fault=500') == {"say": "two words", "fault": "500"}


def test_fields_become_values_and_later_parts_win():
    how = behaviour([read_fields({"fault": 529, "tokens": "7"}), read_fields({"fault": "silence", "split": "yes"})])
    assert (how.fault, how.tokens, how.split, how.after) == ("silence", 7, True, 3)
    assert behaviour([]) is PLAIN


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"nonsense": "1"}, "nonsense: no such directive"),
        ({"latency": "fast"}, "latency: not a duration"),
        ({"fault": "299"}, "no such fault"),
        ({"fault": "explode"}, "no such fault"),
        ({"split": "perhaps"}, "split: not true or false"),
        ({"tokens": "many"}, "tokens: "),
        ({"text": "klingon"}, "not one of ascii, unicode"),
    ],
)
def test_mistakes_are_named(fields, words):
    with pytest.raises(DirectiveError, match=words):
        read_fields(fields)


def test_an_open_quote_is_a_mistake():
    with pytest.raises(DirectiveError):
        parse('say="no end')
