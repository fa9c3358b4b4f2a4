"""The link to Redis: URLs, passwords and TLS. Clusters that fail are in the stores' own contract tests."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trustme
from redis import exceptions as errors

from penstock_chassis.cluster_redis import ClusterRedis, SingleRedis, open_link
from tests.servers import free_port, redis_server


@pytest.mark.parametrize(
    ("url", "cluster", "kind"),
    [
        ("redis://h:1/0", False, SingleRedis),
        ("rediss://u:p@h:1/0", False, SingleRedis),
        ("redis://h:1/0", True, ClusterRedis),
        ("redis+cluster://h:1", False, ClusterRedis),
        ("rediss+cluster://u:p@h:1,i:2?ssl_check_hostname=false", False, ClusterRedis),
    ],
)
async def test_a_url_says_what_it_is_of(url, cluster, kind):
    link = open_link(url, cluster=cluster)
    assert type(link) is kind
    await link.close()


@pytest.mark.parametrize("scheme", ["redis", "rediss+cluster"])
@pytest.mark.parametrize("rest", ["h:secret", ":se/cret@h:1", "u:secret#@h:1", ":secret@:1x"])
def test_a_url_that_makes_no_sense_is_refused_and_not_repeated(scheme, rest):
    with pytest.raises(ValueError, match="redis_url is not understood") as error:
        open_link(f"{scheme}://{rest}")
    assert "cret" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_url_of_something_else_is_refused():
    for url in ("http://h:1", "redis+cluster://", "redis+cluster://h:1,", "h:1"):
        with pytest.raises(ValueError, match="redis_url is not understood"):
            open_link(url)


async def test_nodes_are_spoken_to_as_the_url_says():
    link = open_link("rediss+cluster://user:pass%20word@[::1]:7000,other?ssl_ca_certs=/ca.pem")
    assert isinstance(link, ClusterRedis)
    assert link._seeds == [("::1", 7000), ("other", 6379)]
    told = link._node(("::1", 7001)).connection_pool.connection_kwargs
    assert (told["host"], told["port"], told["username"], told["password"]) == ("::1", 7001, "user", "pass word")
    assert told["ssl_ca_certs"] == "/ca.pem"
    await link.close()


@pytest.fixture
def tls(tmp_path: Path) -> tuple[str, ...]:
    """Options of a server that speaks TLS on a port of its own; its authority is in `tmp_path/ca.pem`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    files = ("--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "ca.pem")
    return ("--tls-auth-clients", "no", *(str(tmp_path / one) if one.endswith(".pem") else one for one in files))


@pytest.mark.parametrize("cluster", [False, True])
async def test_tls_and_a_password(tmp_path: Path, tls: tuple[str, ...], cluster: bool):
    port = free_port()
    own = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--tls-cluster", "yes") if cluster else ()
    with redis_server("--tls-port", str(port), "--requirepass", "a secret", *tls, *own) as server:
        where = f"rediss://:a%20secret@127.0.0.1:{port}/0"
        if cluster:
            words = ["redis-cli", "-p", str(server.port), "-a", "a secret", "--no-auth-warning"]
            done = subprocess.run([*words, "cluster", "addslotsrange", "0", "16383"], capture_output=True, check=True)
            assert done.stdout == b"OK\n"
        link: Any = open_link(f"{where}?ssl_ca_certs={tmp_path / 'ca.pem'}", cluster=cluster, deadline_seconds=10.0)
        # A cluster takes a moment to believe in itself.
        while cluster and "'cluster_state': 'ok'" not in str(
            await link._node(("127.0.0.1", port)).execute_command("CLUSTER INFO")
        ):
            await asyncio.sleep(0.05)
        assert await link.run("a", "SET", "a", "1")
        assert await link.run("a", "GET", "a") == b"1"
        await link.close()
        stranger = open_link(where, cluster=cluster, deadline_seconds=10.0)
        with pytest.raises(errors.RedisError):
            await stranger.run("a", "GET", "a")
        await stranger.close()
        with pytest.raises(errors.AuthenticationError):
            careless = open_link(f"{where.replace(':a%20secret@', ':wrong@')}?ssl_ca_certs={tmp_path / 'ca.pem'}", cluster=cluster, deadline_seconds=10.0)  # fmt: skip
            try:
                await careless.run("a", "GET", "a")
            finally:
                await careless.close()
