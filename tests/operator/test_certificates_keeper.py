"""The keeper on Secrets in memory: what is made, what is left alone, and how an authority is exchanged."""

import asyncio
import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from penstock_operator.certificates import Terms
from penstock_operator.certificates_files import OwnFiles
from penstock_operator.certificates_keeper import CertificateKeeper
from penstock_operator.certificates_secrets import ca_secret, leaf_secret
from penstock_operator.certificates_x509 import make_authority, make_leaf, read_authorities, read_leaf
from penstock_operator.cluster import ClusterError
from penstock_operator.ownership import labels
from tests.operator.secrets_in_memory import SecretsInMemory

RELEASE = "penstock"
DOMAIN = "penstock.gateway.penstock.internal"
COMPONENTS = ("edge", "auth", "router", "status", "operator")
CA = "penstock-ca"
EDGE = "penstock-edge-tls"
BEGIN = float(int(time.time()))
DAY = 86_400.0
TERMS = Terms()
ALL = {CA, *(leaf_secret(RELEASE, one) for one in COMPONENTS)}


class Clock:
    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> float:
        return self.now


class Release:
    """One release: its Secrets, a clock, and keepers on them."""

    def __init__(self) -> None:
        self.secrets = SecretsInMemory()
        self.clock = Clock()
        self.keeper = self.another()

    def another(self, domain: str = DOMAIN, files: OwnFiles | None = None, **changes) -> CertificateKeeper:
        return CertificateKeeper(
            self.secrets, RELEASE, domain, files=files, clock=self.clock, look_seconds=1e12, **changes
        )

    async def look(self, *, after: float = 0.0) -> list[tuple[str, str]]:
        """Look, and return what was written."""
        self.clock.now += after
        self.secrets.writes.clear()
        await self.keeper.look()
        return list(self.secrets.writes)

    def leaf(self, component: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.secrets.data(leaf_secret(RELEASE, component))["tls.crt"])

    def believed(self, component: str) -> set[str]:
        found, whole = read_authorities(self.secrets.data(leaf_secret(RELEASE, component))["ca.crt"])
        assert whole
        return {one.fingerprint for one in found}

    def issuer(self, component: str) -> str:
        data = self.secrets.data(leaf_secret(RELEASE, component))
        found, _ = read_authorities(data["ca.crt"])
        leaf = read_leaf(data["tls.crt"], data["tls.key"], found)
        assert leaf is not None
        return leaf.issuer

    def authority(self) -> str:
        return read_authorities(self.secrets.data(CA)["tls.crt"])[0][0].fingerprint

    def previous(self) -> list[str]:
        return [one.fingerprint for one in read_authorities(self.secrets.data(CA).get("previous.crt", b""))[0]]


@pytest.fixture
async def release() -> Release:
    made = Release()
    await made.keeper.look()
    return made


def gauge(name: str, **of: str) -> float | None:
    return REGISTRY.get_sample_value(f"penstock_operator_{name}", of)


async def test_everything_is_made_once(release: Release) -> None:
    assert set(release.secrets.secrets) == ALL
    assert release.secrets.writes == [("create", CA), *(("create", leaf_secret(RELEASE, one)) for one in COMPONENTS)]
    assert await release.look() == []
    for component in COMPONENTS:
        secret = release.secrets.secrets[leaf_secret(RELEASE, component)]
        assert secret["type"] == "kubernetes.io/tls"
        assert set(secret["data"]) == {"tls.crt", "tls.key", "ca.crt"}
        names = release.leaf(component).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [f"{component}.{DOMAIN}"]
        assert release.issuer(component) == release.authority()
    assert set(release.secrets.data(CA)) == {"tls.crt", "tls.key"}
    assert b"PRIVATE" not in release.secrets.data(EDGE)["ca.crt"]
    assert gauge("certificate_days_until_expiry", of="edge") == pytest.approx(90, abs=0.1)
    assert gauge("certificate_days_until_expiry", of="authority") == pytest.approx(3650, abs=0.1)
    assert gauge("authority_exchange_step") == 0


async def test_secrets_are_labelled_so_that_they_can_be_found_and_deleted(release: Release) -> None:
    for name in ALL:
        metadata = release.secrets.secrets[name]["metadata"]
        assert metadata["labels"] == labels(RELEASE, "certificates")
        assert "ownerReferences" not in metadata


async def test_certificates_are_renewed_after_two_thirds_of_their_life(release: Release) -> None:
    pause = await release.keeper.look()
    assert pause == pytest.approx(60 * DAY, abs=DAY)
    assert await release.look(after=pause - 60) == []
    before = {one: release.leaf(one) for one in COMPONENTS}
    assert await release.look(after=61) == [("patch", leaf_secret(RELEASE, one)) for one in COMPONENTS]
    for component in COMPONENTS:
        assert release.leaf(component).serial_number != before[component].serial_number
        assert release.leaf(component).public_key() != before[component].public_key()
    assert await release.look() == []


def break_leaf(release: Release, how: str) -> None:
    secrets = release.secrets
    match how:
        case "deleted":
            del secrets.secrets[EDGE]
        case "no certificate":
            secrets.change(EDGE, tls_crt=None)
        case "no key":
            secrets.change(EDGE, tls_key=b"")
        case "half a certificate":
            secrets.change(EDGE, tls_crt=secrets.data(EDGE)["tls.crt"][:200])
        case "another key":
            secrets.change(EDGE, tls_key=secrets.data("penstock-auth-tls")["tls.key"])
        case "another component":
            secrets.change(EDGE, **{key.replace(".", "_"): value for key, value in secrets.data("penstock-auth-tls").items()})  # fmt: skip
        case "a strange authority":
            strange = make_authority(release.clock(), TERMS)
            chain, key = make_leaf("edge", f"edge.{DOMAIN}", strange, release.clock(), TERMS)
            secrets.change(EDGE, tls_crt=chain, tls_key=key, ca_crt=strange.certificate)
        case "no base64":
            secrets.secrets[EDGE]["data"]["tls.crt"] = "%%%"
        case "no data":
            secrets.secrets[EDGE]["data"] = None
        case "asked":
            secrets.annotate(EDGE, rotate="now")
        case "too young":
            release.clock.now -= 400
        case "expired":
            release.clock.now += 91 * DAY
        case _:
            raise AssertionError(how)


BREAKS = ["deleted", "no certificate", "no key", "half a certificate", "another key", "another component", "a strange authority", "no base64", "no data", "asked"]  # fmt: skip


@pytest.mark.parametrize("how", BREAKS)
async def test_a_damaged_certificate_is_made_anew_and_no_other(release: Release, how: str) -> None:
    before, authority = release.leaf("edge"), release.authority()
    break_leaf(release, how)
    assert await release.look() == [("create" if how == "deleted" else "patch", EDGE)]
    assert release.leaf("edge").serial_number != before.serial_number
    assert release.issuer("edge") == release.authority() == authority
    assert release.believed("edge") == {authority}
    assert await release.look() == []


@pytest.mark.parametrize("how", ["too young", "expired"])
async def test_certificates_out_of_their_time_are_made_anew(release: Release, how: str) -> None:
    break_leaf(release, how)
    written = await release.look()
    assert set(written) >= {("patch", leaf_secret(RELEASE, one)) for one in COMPONENTS}
    assert await release.look() == []


@pytest.mark.parametrize("bundle", [b"", b"nonsense", "strange", "more"])
async def test_a_damaged_bundle_is_written_anew_and_the_certificate_stays(release: Release, bundle) -> None:
    before = release.leaf("edge")
    content = bundle
    if bundle == "strange":
        content = make_authority(BEGIN, TERMS).certificate
    elif bundle == "more":
        content = release.secrets.data(EDGE)["ca.crt"] + release.secrets.data(EDGE)["tls.crt"]
    release.secrets.change(EDGE, ca_crt=content)
    assert await release.look() == [("patch", EDGE)]
    assert release.leaf("edge") == before
    assert release.believed("edge") == {release.authority()}
    assert await release.look() == []


async def test_what_others_wrote_beside_it_stays(release: Release) -> None:
    release.secrets.annotate(EDGE, remark="mine")
    release.secrets.change(EDGE, tls_key=b"", more_txt=b"more")
    await release.look()
    assert release.secrets.secrets[EDGE]["metadata"]["annotations"]["penstock.dev/remark"] == "mine"
    assert release.secrets.data(EDGE)["more.txt"] == b"more"


async def test_a_request_is_obeyed_once(release: Release) -> None:
    release.secrets.annotate(EDGE, rotate="because")
    assert await release.look() == [("patch", EDGE)]
    assert await release.look() == []
    release.secrets.annotate(EDGE, rotate=None)
    assert await release.look() == []
    release.secrets.annotate(EDGE, rotate="again " * 10_000)
    assert await release.look() == [("patch", EDGE)]
    assert await release.look() == []
    assert len(str(release.secrets.secrets[EDGE]["metadata"]["annotations"])) < 61_000


async def test_another_domain_means_other_certificates_and_the_same_authority(release: Release) -> None:
    authority = release.authority()
    release.secrets.writes.clear()
    await release.another("elsewhere.internal").look()
    assert release.secrets.writes == [("patch", leaf_secret(RELEASE, one)) for one in COMPONENTS]
    assert release.authority() == authority


@pytest.mark.parametrize("foreign", [{}, {"app.kubernetes.io/managed-by": "penstock-operator"}, labels("other", "certificates")])  # fmt: skip
async def test_a_foreign_certificate_is_left_and_told_of_once(foreign: dict[str, str]) -> None:
    release = Release()
    release.secrets.put(EDGE, {"tls.crt": b"theirs", "tls.key": b"theirs"}, labels=foreign)
    with capture_logs() as lines:
        await release.look()
        assert await release.look(after=200 * DAY) != []
    assert release.secrets.data(EDGE) == {"tls.crt": b"theirs", "tls.key": b"theirs"}
    assert [line["secret"] for line in lines if line["event"] == "certificate_secret_is_foreign"] == [EDGE]
    assert gauge("certificate_secret_foreign", of="edge") == 1
    assert gauge("certificate_secret_foreign", of="auth") == 0
    del release.secrets.secrets[EDGE]
    assert await release.look() == [("create", EDGE)]
    assert gauge("certificate_secret_foreign", of="edge") == 0


async def test_a_foreign_authority_stops_all_issuing_and_says_so() -> None:
    release = Release()
    release.secrets.put(CA, {"tls.crt": b"theirs", "tls.key": b"theirs"})
    with capture_logs() as lines:
        assert await release.look() == []
    assert [line["secret"] for line in lines] == [CA]
    assert gauge("certificate_secret_foreign", of="authority") == 1


@pytest.mark.parametrize("wrong", ["type", "immutable"])
async def test_a_secret_of_ours_that_cannot_be_changed_is_made_anew(release: Release, wrong: str) -> None:
    secret = release.secrets.secrets[EDGE]
    if wrong == "type":
        secret["type"] = "Opaque"
    else:
        secret["immutable"] = True
    assert await release.look() == []
    before = release.leaf("edge")
    release.secrets.secrets[EDGE]["data"]["ca.crt"] = ""
    assert await release.look() == [("delete", EDGE), ("create", EDGE)]
    assert release.leaf("edge") == before
    assert release.secrets.secrets[EDGE]["type"] == "kubernetes.io/tls"
    assert await release.look() == []


async def test_a_secret_that_became_another_is_not_deleted(release: Release) -> None:
    release.secrets.secrets[EDGE]["type"] = "Opaque"
    release.secrets.change(EDGE, ca_crt=b"")

    def meanwhile() -> None:
        release.secrets.put(EDGE, {"tls.crt": b"theirs", "tls.key": b"theirs"})

    release.secrets.before_write = meanwhile
    await release.look()
    assert release.secrets.data(EDGE)["tls.crt"] == b"theirs"


async def test_an_authority_is_exchanged_in_three_steps(release: Release) -> None:
    old = release.authority()
    certificates = {one: release.leaf(one) for one in COMPONENTS}
    release.secrets.annotate(CA, rotate="the key was seen")
    everyone = [("patch", leaf_secret(RELEASE, one)) for one in COMPONENTS]

    # Believe both.
    assert await release.look() == [("patch", CA), *everyone]
    new = release.authority()
    assert release.previous() == [old]
    assert {one: release.leaf(one) for one in COMPONENTS} == certificates
    assert all(release.believed(one) == {old, new} for one in COMPONENTS)
    assert gauge("authority_exchange_step") == 1
    assert await release.look(after=599) == []

    # Issue from the new one.
    assert await release.look(after=1) == everyone
    assert all(release.issuer(one) == new for one in COMPONENTS)
    assert all(release.believed(one) == {old, new} for one in COMPONENTS)
    assert gauge("authority_exchange_step") == 2
    assert await release.look(after=599) == []

    # Believe the new one alone.
    assert await release.look(after=1) == [("patch", CA), *everyone]
    assert all(release.believed(one) == {new} for one in COMPONENTS)
    assert set(release.secrets.data(CA)) == {"tls.crt", "tls.key"}
    assert gauge("authority_exchange_step") == 0
    assert await release.look(after=DAY) == []


async def test_an_authority_is_exchanged_after_two_thirds_of_its_life(release: Release) -> None:
    old = release.authority()
    release.clock.now = BEGIN + 2400 * DAY
    await release.look()
    assert release.authority() == old
    await release.look(after=60 * DAY)
    assert release.previous() == [old]


async def test_the_next_look_is_when_a_step_ends(release: Release) -> None:
    release.secrets.annotate(CA, rotate="now")
    pauses = []
    for _ in range(3):
        pause = await release.keeper.look()
        pauses.append(pause)
        release.clock.now += pause
    assert pauses == [pytest.approx(600, abs=1), pytest.approx(600, abs=1), pytest.approx(60 * DAY, abs=DAY)]
    assert release.previous() == []


async def test_a_certificate_that_is_lost_while_not_all_believe_the_new_authority_comes_from_the_old(release) -> None:
    old = release.authority()
    release.secrets.annotate(CA, rotate="now")
    await release.look()
    del release.secrets.secrets[EDGE]
    assert await release.look(after=300) == [("create", EDGE)]
    assert release.issuer("edge") == old
    assert len(release.believed("edge")) == 2
    assert await release.look(after=400) == [], "the new Secret may not have reached everybody"
    assert len(await release.look(after=200)) == 5


async def test_a_step_waits_for_a_secret_that_could_not_be_written(release: Release) -> None:
    old = release.authority()
    release.secrets.annotate(CA, rotate="now")
    release.secrets.refused = {EDGE}
    for _ in range(5):
        with pytest.raises(ClusterError):
            await release.look(after=500)
    assert all(release.issuer(one) == old for one in COMPONENTS)
    assert len(release.believed("auth")) == 2, "one that is stuck does not hold up the others"
    release.secrets.refused = set()
    assert await release.look() == [("patch", EDGE)]
    assert await release.look(after=599) == []
    assert len(await release.look(after=1)) == 5


async def test_an_undated_step_begins_anew(release: Release) -> None:
    release.secrets.annotate(CA, rotate="now")
    await release.look()
    release.secrets.annotate(EDGE, bundle_since=None)
    assert await release.look(after=500) == [("patch", EDGE)]
    release.secrets.annotate("penstock-auth-tls", bundle_since="2999-01-01T00:00:00+00:00")
    assert await release.look(after=500) == [("patch", "penstock-auth-tls")]
    assert await release.look(after=500) == []
    await release.look(after=100)
    release.secrets.annotate(EDGE, certificate_since="yesterday")
    assert await release.look(after=500) == [("patch", EDGE)]
    assert await release.look(after=500) == []
    assert len(await release.look(after=100)) == 6


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
async def test_dates_beyond_all_hold_up_nobody(release: Release, time: str) -> None:
    release.secrets.annotate(EDGE, bundle_since=time, certificate_since=time)
    release.secrets.annotate(EDGE, rotate="now")
    assert await release.look() == [("patch", EDGE)]
    assert await release.look() == []


@pytest.mark.parametrize("lost", ["deleted", "no key", "another key", "nonsense", "empty"])
async def test_a_lost_authority_is_replaced_while_its_certificates_go_on(release: Release, lost: str) -> None:
    """Nobody can issue from it any more, but all processes still believe it and use its certificates."""
    old = release.authority()
    certificates = {one: release.leaf(one) for one in COMPONENTS}
    match lost:
        case "deleted":
            del release.secrets.secrets[CA]
        case "no key":
            release.secrets.change(CA, tls_key=None)
        case "another key":
            release.secrets.change(CA, tls_key=make_authority(BEGIN, TERMS).key)
        case "nonsense":
            release.secrets.change(CA, tls_crt=b"nonsense")
        case "empty":
            release.secrets.change(CA, tls_crt=None, tls_key=None)
    await release.look()
    new = release.authority()
    assert new != old
    assert {one: release.leaf(one) for one in COMPONENTS} == certificates
    assert all(release.believed(one) == {old, new} for one in COMPONENTS)
    await release.look(after=600)
    assert all(release.issuer(one) == new for one in COMPONENTS)
    await release.look(after=600)
    assert all(release.believed(one) == {new} for one in COMPONENTS)
    assert release.previous() == []
    assert await release.look() == []


async def test_with_everything_lost_everything_is_made_anew(release: Release) -> None:
    release.secrets.secrets.clear()
    assert len(await release.look()) == 6
    assert release.previous() == []


async def test_an_authority_that_has_expired_is_not_believed_any_longer(release: Release) -> None:
    old = release.authority()
    await release.look(after=3651 * DAY)
    assert release.previous() == []
    assert all(release.believed(one) == {release.authority()} != {old} for one in COMPONENTS)


async def test_a_damaged_previous_authority_is_forgotten(release: Release) -> None:
    release.secrets.annotate(CA, rotate="now")
    await release.look()
    release.secrets.change(CA, previous_crt=b"nonsense")
    await release.look()
    assert release.previous() == []
    assert all(release.issuer(one) == release.authority() for one in COMPONENTS)
    assert await release.look() == []


async def test_a_clock_that_was_wrong_for_a_while_leaves_no_harm(release: Release) -> None:
    await release.look(after=4 * 365 * DAY)
    assert await release.look() == []
    await release.look(after=-4 * 365 * DAY)
    assert await release.look() == []
    assert all(release.issuer(one) == release.authority() for one in COMPONENTS)
    now = release.clock.now
    assert all(release.leaf(one).not_valid_before_utc.timestamp() <= now for one in COMPONENTS)


async def test_two_operators_make_one_authority() -> None:
    release = Release()
    other = release.another()
    await asyncio.gather(release.keeper.look(), other.look())
    assert release.previous() == []
    assert all(release.issuer(one) == release.authority() for one in COMPONENTS)
    assert await release.look() == []


async def test_what_another_operator_wrote_meanwhile_is_not_written_over(release: Release) -> None:
    release.secrets.change(EDGE, tls_crt=b"")

    def meanwhile() -> None:
        ((authority,), _) = read_authorities(release.secrets.data(CA)["tls.crt"], release.secrets.data(CA)["tls.key"])
        chain, key = make_leaf("edge", f"edge.{DOMAIN}", authority, release.clock(), TERMS)
        release.secrets.change(EDGE, tls_crt=chain, tls_key=key)
        seen.append(chain)

    seen: list[bytes] = []
    release.secrets.before_write = meanwhile
    await release.look()
    assert release.secrets.data(EDGE)["tls.crt"] == seen[0]


@pytest.mark.parametrize("writes", range(13))
async def test_an_operator_may_die_after_any_write(writes: int) -> None:
    """Of a first look, and of one that begins an exchange; the next operator goes on from there."""
    release = Release()
    release.secrets.writes_left = writes
    try:
        await release.look()
        release.secrets.annotate(CA, rotate="now")
        await release.look()
    except ClusterError:
        pass
    release.secrets.writes_left = None
    release.keeper = release.another()
    await release.look()
    assert await release.look() == []
    believed = {release.authority(), *release.previous()}
    assert all(release.believed(one) == believed for one in COMPONENTS)
    assert len(release.previous()) == (1 if writes >= 6 else 0)


async def test_a_writer_that_never_stops_is_told_of(release: Release) -> None:
    def meanwhile() -> None:
        release.secrets.change(EDGE, tls_crt=b"")
        release.secrets.before_write = meanwhile

    meanwhile()
    with pytest.raises(ClusterError, match="somebody else writes"):
        await release.look()


async def test_no_secret_is_ever_logged(release: Release) -> None:
    with capture_logs() as lines:
        release.secrets.annotate(CA, rotate="now")
        await release.look()
        release.secrets.refused = {EDGE}
        release.secrets.change(EDGE, tls_crt=b"nonsense")
        with pytest.raises(ClusterError):
            await release.look()
    text = str(lines)
    assert len(lines) > 5
    for name in ALL:
        for value in release.secrets.data(name).values():
            assert value.decode()[40:80] not in text or value == b"nonsense"


async def test_own_files_follow_the_own_secret(tmp_path: Path) -> None:
    release = Release()
    folder = tmp_path / "tls"
    keeper = release.keeper = release.another(files=OwnFiles(folder))
    assert not keeper.ready.is_set()
    await keeper.look()
    assert keeper.ready.is_set()
    assert folder.stat().st_mode & 0o777 == 0o700
    for name, content in release.secrets.data("penstock-operator-tls").items():
        path = folder / "current" / name
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o777 == 0o600
    inode = (folder / "current").lstat().st_ino
    await keeper.look()
    assert (folder / "current").lstat().st_ino == inode, "nothing is written without need"
    await release.look(after=61 * DAY)
    assert (folder / "current" / "tls.crt").read_bytes() == release.secrets.data("penstock-operator-tls")["tls.crt"]
    assert len(list(folder.iterdir())) == 2


async def test_own_files_do_not_wait_for_the_secrets_of_others(tmp_path: Path) -> None:
    release = Release()
    keeper = release.another(files=OwnFiles(tmp_path / "tls"))
    release.secrets.refused = {EDGE}
    with pytest.raises(ClusterError):
        await keeper.look()
    assert keeper.ready.is_set()


async def test_a_foreign_certificate_that_cannot_be_used_is_waited_for(tmp_path: Path) -> None:
    release = Release()
    name = leaf_secret(RELEASE, "operator")
    release.secrets.put(name, {"tls.crt": b"theirs", "tls.key": b"theirs", "ca.crt": b"theirs"})
    keeper = release.another(files=OwnFiles(tmp_path / "tls"))
    with capture_logs() as lines:
        await keeper.look()
        await keeper.look()
    assert not keeper.ready.is_set()
    assert [line["event"] for line in lines if "own" in line["event"]] == ["own_certificate_unusable"]
    del release.secrets.secrets[name]
    await keeper.look()
    assert keeper.ready.is_set()
    good = (tmp_path / "tls" / "current" / "tls.crt").read_bytes()
    release.secrets.put(name, {"tls.crt": b"theirs", "tls.key": b"theirs"})
    await keeper.look()
    assert (tmp_path / "tls" / "current" / "tls.crt").read_bytes() == good


async def test_own_files_of_an_earlier_life_are_swept_away(tmp_path: Path) -> None:
    release = Release()
    await release.another(files=OwnFiles(tmp_path)).look()
    OwnFiles(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_own_files_are_not_put_where_others_point(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tls").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError):
        OwnFiles(tmp_path / "tls")


async def running(keeper: CertificateKeeper) -> asyncio.Task[None]:
    task = asyncio.create_task(keeper.run())
    await asyncio.sleep(0)
    return task


async def until(true) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.01)


async def test_it_waits_for_the_api_and_looks_when_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock_operator.certificates_keeper._FIRST_RETRY", 0.02)
    release = Release()
    release.secrets.down = True
    with capture_logs() as lines:
        task = await running(release.keeper)
        await asyncio.sleep(0.1)
        release.secrets.down = False
        await until(lambda: set(release.secrets.secrets) == ALL)
    assert [line["reason"] for line in lines if line["event"] == "certificates_look_failed"] == ["no answer"]
    await asyncio.sleep(0.1)
    del release.secrets.secrets[EDGE]
    release.keeper.secret_changed("something-else")
    await asyncio.sleep(0.3)
    assert EDGE not in release.secrets.secrets
    release.keeper.secret_changed(EDGE)
    await until(lambda: EDGE in release.secrets.secrets)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_terms_leave_time_for_each_other() -> None:
    with pytest.raises(ValueError, match="six times"):
        Terms(authority_seconds=100 * DAY)
    with pytest.raises(ValueError, match="twelve times"):
        Terms(leaf_seconds=3600)


def test_the_names_of_secrets() -> None:
    assert ca_secret(RELEASE) == CA
    assert leaf_secret(RELEASE, "edge") == EDGE


def test_a_key_is_a_private_key_and_the_bundle_holds_none(tmp_path: Path) -> None:
    """What processes mount does not let them issue."""
    release = Release()
    asyncio.run(release.keeper.look())
    for component in COMPONENTS:
        data = release.secrets.data(leaf_secret(RELEASE, component))
        serialization.load_pem_private_key(data["tls.key"], None)
        assert b"PRIVATE" not in data["tls.crt"] + data["ca.crt"]
        context = ssl.create_default_context(cadata=data["ca.crt"].decode())
        assert len(context.get_ca_certs()) == 1


async def test_certificates_from_elsewhere_that_are_labelled_as_ours_are_taken_over_in_steps(release: Release) -> None:
    """So a release comes from cert-manager without a refused call."""
    theirs = make_authority(BEGIN, TERMS)
    del release.secrets.secrets[CA]
    for component in COMPONENTS:
        name = leaf_secret(RELEASE, component)
        chain, key = make_leaf(component, f"{component}.{DOMAIN}", theirs, BEGIN, TERMS)
        data = {"tls.crt": chain, "tls.key": key, "ca.crt": theirs.certificate}
        release.secrets.put(name, data, labels=labels(RELEASE, "other"))
    await release.look()
    assert all(release.issuer(one) == theirs.fingerprint for one in COMPONENTS)
    assert all(release.believed(one) == {theirs.fingerprint, release.authority()} for one in COMPONENTS)
    await release.look(after=600)
    assert all(release.issuer(one) == release.authority() for one in COMPONENTS)
    await release.look(after=600)
    assert all(release.believed(one) == {release.authority()} for one in COMPONENTS)


async def test_what_happens_is_told_on_the_secrets() -> None:
    release = Release()
    told: list[tuple[str, str, str]] = []

    def tell(secret, event) -> None:
        assert secret["metadata"]["resourceVersion"]
        told.append((secret["metadata"]["name"], event.reason, event.message))

    release.keeper = release.another(tell=tell)
    await release.look()
    assert [row[:2] for row in told[:2]] == [(CA, "AuthorityMade"), (EDGE, "CertificateIssued")]
    assert len(told) == 6
    told.clear()
    release.secrets.annotate(CA, rotate="now")
    for _ in range(3):
        await release.look(after=600)
    assert [row[1] for row in told if row[0] == CA] == ["AuthorityMade", "AuthorityExchanged"]
    assert [row[1] for row in told if row[0] == EDGE] == ["AuthoritiesWritten", "CertificateIssued", "AuthoritiesWritten"]  # fmt: skip
    told.clear()
    release.secrets.put(EDGE, {"tls.crt": b"theirs", "tls.key": b"theirs"})
    await release.look()
    await release.look()
    assert [row[:2] for row in told] == [(EDGE, "SecretNotOurs")]
    assert "until it is deleted" in told[0][2]
