from hypothesis import given
from hypothesis import strategies as st

from penstock_simulator.cache import Position, PromptCache, Split


def places(*ends):
    """Positions from (key, tokens, ttl)."""
    return [Position(key.encode(), tokens, ttl) for key, tokens, ttl in ends]


def test_first_write_then_read_then_gone():
    cache = PromptCache()
    prompt = places(("tools", 50, 0), ("system", 100, 300))
    assert cache.split(prompt, 120, 16, 0.0) == Split(20, 0, 100, 0)
    cache.store(prompt, 16, 0.0)
    assert cache.split(prompt, 120, 16, 299.0) == Split(20, 100, 0, 0)
    assert cache.split(prompt, 120, 16, 301.0) == Split(20, 0, 100, 0)


def test_reading_renews():
    cache = PromptCache()
    prompt = places(("system", 100, 300))
    cache.store(prompt, 16, 0.0)
    cache.store(prompt, 16, 200.0)
    assert cache.split(prompt, 100, 16, 450.0).read == 100


def test_a_longer_prompt_reads_the_known_part_and_writes_the_rest():
    cache = PromptCache()
    cache.store(places(("a", 100, 300)), 16, 0.0)
    assert cache.split(places(("a", 100, 0), ("b", 180, 300)), 200, 16, 1.0) == Split(20, 100, 80, 0)


def test_hours_and_minutes_are_told_apart():
    cache = PromptCache()
    prompt = places(("a", 100, 3600), ("b", 150, 300))
    assert cache.split(prompt, 160, 16, 0.0) == Split(10, 0, 50, 100)
    cache.store(prompt, 16, 0.0)
    assert cache.split(prompt, 160, 16, 1000.0) == Split(10, 100, 50, 0)


def test_short_prefixes_are_not_cached():
    cache = PromptCache()
    prompt = places(("a", 10, 300))
    assert cache.split(prompt, 20, 16, 0.0) == Split(20, 0, 0, 0)
    cache.store(prompt, 16, 0.0)
    assert len(cache) == 0


def test_bounded():
    cache = PromptCache(limit=3)
    for key in "abcde":
        cache.store(places((key, 100, 300)), 16, 0.0)
    assert len(cache) == 3
    assert cache.split(places(("a", 100, 300)), 100, 16, 1.0).read == 0
    assert cache.split(places(("e", 100, 300)), 100, 16, 1.0).read == 100


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0, 300, 3600]), st.booleans()), max_size=8),
    st.integers(0, 50),
)
def test_the_parts_always_add_up(steps, tail):
    cache, total, prompt = PromptCache(), 0, []
    for index, (size, ttl, known) in enumerate(steps):
        total += size
        prompt.append(Position(bytes([index]), total, ttl))
        if known:
            cache.store([Position(bytes([index]), total, 300)], 16, 0.0)
    assert sum(cache.split(prompt, total + tail, 16, 1.0)) == total + tail
    assert min(cache.split(prompt, total + tail, 16, 1.0)) >= 0
