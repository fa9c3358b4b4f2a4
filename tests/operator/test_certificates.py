"""The plan by itself: facts in, changes out."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_operator.certificates import (
    Authority,
    HeldAuthorities,
    HeldLeaf,
    Leaf,
    Plan,
    Standing,
    Step,
    Terms,
    plan,
)

NOW = 1_800_000_000.0
DAY = 86_400.0
TERMS = Terms()
NAMES = {"edge": "edge.d", "auth": "auth.d"}
LONG_AGO = NOW - DAY


def authority(name: str, *, key: bool = True, begun: float = 10 * DAY, left: float = 3640 * DAY) -> Authority:
    return Authority(name, NOW - begun, NOW + left, certificate=name.encode(), key=b"key" if key else b"")


def holding(*authorities: Authority, **changes) -> HeldAuthorities:
    return HeldAuthorities(Standing.OURS, authorities, **changes)


def leaf(component: str, issuer: Authority, *believed: Authority, since: float | None = LONG_AGO, begun: float = DAY, left: float = 89 * DAY, **changes) -> HeldLeaf:  # fmt: skip
    made = Leaf(issuer.fingerprint, frozenset({NAMES[component]}), NOW - begun, NOW + left)
    given = {"bundle": believed or (issuer,), "bundle_since": since, "leaf_since": since} | changes
    return HeldLeaf(Standing.OURS, made, **given)


def both(issuer: Authority, *believed: Authority, **changes) -> dict[str, HeldLeaf]:
    return {component: leaf(component, issuer, *believed, **changes) for component in NAMES}


def decide(held: HeldAuthorities, leaves: dict[str, HeldLeaf]) -> Plan:
    return plan(NOW, held, leaves, NAMES, TERMS)


OLD, NEW, THIRD = authority("old"), authority("new"), authority("third")


def test_nothing_is_done_when_all_is_well() -> None:
    decided = decide(holding(OLD), both(OLD))
    assert (decided.authority, decided.leaves, decided.step, decided.foreign) == (None, (), Step.SETTLED, ())
    assert decided.next_look == pytest.approx(NOW + 59 * DAY, abs=DAY)


def test_the_authority_comes_first_and_alone() -> None:
    decided = decide(HeldAuthorities(), {component: HeldLeaf() for component in NAMES})
    assert decided.authority is not None
    assert (decided.authority.make, decided.authority.keep, decided.authority.reason) == (True, (), "absent")
    assert decided.leaves == ()
    assert decided.next_look == NOW


def test_a_certificate_with_another_name_beside_its_own_is_made_anew() -> None:
    """It could speak for both."""
    held = both(OLD)
    twofold = Leaf("old", frozenset(NAMES.values()), NOW - DAY, NOW + 89 * DAY)
    held["edge"] = dataclasses.replace(held["edge"], leaf=twofold)
    (change,) = decide(holding(OLD), held).leaves
    assert (change.component, change.issuer, change.reason) == ("edge", OLD, "names")


def test_the_old_one_issues_until_the_new_one_is_known_everywhere() -> None:
    missing = both(OLD, NEW, OLD) | {"edge": HeldLeaf()}
    (change,) = decide(holding(NEW, OLD), missing).leaves
    assert (change.issuer, change.believed) == (OLD, (NEW, OLD))


def test_an_old_one_at_its_end_does_not_issue_any_more() -> None:
    dying = authority("old", left=7000)
    missing = both(dying, NEW, dying) | {"edge": HeldLeaf()}
    (change,) = decide(holding(NEW, dying), missing).leaves
    assert change.issuer == NEW


def test_an_old_one_without_its_key_cannot_issue() -> None:
    keyless = dataclasses.replace(OLD, key=b"")
    missing = both(keyless, NEW, keyless) | {"edge": HeldLeaf()}
    (change,) = decide(holding(NEW, keyless), missing).leaves
    assert change.issuer == NEW


def test_an_exchange_waits_for_a_foreign_secret() -> None:
    held = both(OLD, NEW, OLD) | {"edge": HeldLeaf(Standing.FOREIGN)}
    decided = decide(holding(NEW, OLD), held)
    assert (decided.leaves, decided.step, decided.foreign) == ((), Step.BELIEVE_BOTH, ("edge",))
    assert decided.next_look > NOW
    over = both(NEW, NEW, OLD) | {"edge": HeldLeaf(Standing.FOREIGN)}
    assert decide(holding(NEW, OLD), over).authority is None


def test_no_second_exchange_begins_within_the_first() -> None:
    decided = decide(holding(NEW, OLD, request="again"), both(OLD, NEW, OLD))
    assert decided.authority is None
    assert decided.step is Step.ISSUE_FROM_NEW


def test_an_authority_that_cannot_issue_gives_way_to_the_one_before() -> None:
    for broken in (dataclasses.replace(NEW, key=b""), authority("new", begun=-DAY), authority("new", left=0)):
        decided = decide(holding(broken, OLD), both(OLD, broken, OLD))
        assert decided.authority is not None
        assert not decided.authority.make
        assert decided.authority.keep[0] == OLD


def test_what_certificates_came_from_is_believed_on_when_the_authority_is_lost() -> None:
    decided = decide(HeldAuthorities(), both(OLD, OLD, NEW))
    assert decided.authority is not None
    assert decided.authority.make
    assert decided.authority.keep == (OLD,), "what nobody uses is not believed"
    expired = decide(HeldAuthorities(), both(OLD, OLD, left=-1))
    assert expired.authority is not None
    assert expired.authority.keep == ()


def test_a_lost_authority_of_many_is_bounded() -> None:
    usable = [authority(f"old-{number}", key=False) for number in range(9)]
    decided = decide(holding(*usable, damaged=True), both(usable[0]))
    assert decided.authority is not None
    assert len(decided.authority.keep) == 3


def test_renewal_that_gives_no_more_time_is_not_tried() -> None:
    """An authority near its own end, whose exchange is held up, would otherwise issue without end."""
    dying = authority("dying", begun=3000 * DAY, left=10 * DAY)
    held = both(dying, NEW, dying, begun=40 * DAY, left=10 * DAY) | {"auth": HeldLeaf(Standing.FOREIGN)}
    assert decide(holding(NEW, dying), held).leaves == ()


facts = st.builds(
    HeldLeaf,
    standing=st.sampled_from(Standing),
    leaf=st.none()
    | st.builds(
        Leaf,
        issuer=st.sampled_from(["", "old", "new", "third"]),
        names=st.sampled_from([frozenset(), frozenset({"edge.d"}), frozenset({"auth.d"})]),
        not_before=st.floats(NOW - 100 * DAY, NOW + DAY),
        not_after=st.floats(NOW - DAY, NOW + 100 * DAY),
    ),
    bundle=st.lists(st.sampled_from([OLD, NEW, THIRD]), unique=True).map(tuple),
    bundle_since=st.none() | st.floats(NOW - DAY, NOW + DAY),
    leaf_since=st.none() | st.floats(NOW - DAY, NOW + DAY),
    request=st.sampled_from(["", "please"]),
    unchangeable=st.booleans(),
)
authorities = st.builds(
    HeldAuthorities,
    standing=st.just(Standing.OURS),
    authorities=st.lists(
        st.builds(
            authority,
            st.sampled_from(["old", "new", "third"]),
            key=st.booleans(),
            begun=st.floats(-DAY, 3650 * DAY),
            left=st.floats(-DAY, 3650 * DAY),
        ),
        max_size=4,
    ).map(tuple),
    damaged=st.booleans(),
    request=st.sampled_from(["", "please"]),
)


@given(authorities, facts, facts)
def test_carried_out_it_leads_to_rest(held: HeldAuthorities, edge: HeldLeaf, auth: HeldLeaf) -> None:
    """From any facts whatever: a few rounds later nothing is to be done, and all that is ours can be used."""
    leaves = {"edge": edge, "auth": auth}
    for number in range(4):
        decided = decide(held, leaves)
        if decided.authority is not None:
            assert decided.leaves == ()
            change = decided.authority
            fresh = (authority(f"made-{number}", begun=300),) if change.make else ()
            held = HeldAuthorities(Standing.OURS, (*fresh, *change.keep))
        elif decided.leaves:
            for one in decided.leaves:
                before = leaves[one.component]
                assert before.standing is not Standing.FOREIGN
                assert one.recreate == before.unchangeable
                if one.issuer is None:
                    assert before.leaf is not None
                    made = before.leaf
                else:
                    assert one.issuer.key
                    end = min(NOW + TERMS.leaf_seconds, one.issuer.not_after)
                    made = Leaf(one.issuer.fingerprint, frozenset({NAMES[one.component]}), NOW - 300, end)
                leaves[one.component] = HeldLeaf(Standing.OURS, made, one.believed, one.bundle_since, one.leaf_since)
        else:
            break
    else:
        raise AssertionError("no rest")
    assert decided.next_look > NOW
    assert held.authorities[0].key
    for component, one in leaves.items():
        if one.standing is Standing.FOREIGN:
            continue
        assert one.leaf is not None
        assert one.leaf.names == {NAMES[component]}
        assert one.leaf.not_before <= NOW < one.leaf.not_after
        assert {known.fingerprint for known in one.bundle} == {known.fingerprint for known in held.authorities}
        assert one.leaf.issuer in {known.fingerprint for known in one.bundle}
