"""The ways to a Kubernetes API: a pod's files, or a kubeconfig; both without and with a real TLS server."""

import base64
import datetime as dt
import ipaddress
import ssl

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from penstock_catalog.cluster_access import AccessError, find_access, from_kubeconfig
from penstock_catalog.cluster_secrets import ClusterError, ClusterSecrets
from tests.apiserver import NAMESPACE, TOKEN, ApiServer

ENVIRONMENT = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}


def certificate(name: str, *, authority: bool = False) -> tuple[str, str]:
    """Make one that signs itself; return it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


AUTHORITY, AUTHORITY_KEY = certificate("api", authority=True)
CLIENT, CLIENT_KEY = certificate("client", authority=True)


@pytest.fixture
def pod(tmp_path):
    """A service account's folder, as the kubelet mounts it."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "namespace").write_text(NAMESPACE)
    (tmp_path / "ca.crt").write_text(AUTHORITY)
    return tmp_path


@pytest.fixture
def tls(tmp_path):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    both = tmp_path / "server.pem"
    both.write_text(AUTHORITY + AUTHORITY_KEY)
    context.load_cert_chain(both)
    return context


@pytest.mark.parametrize(
    ("environment", "server"),
    [
        (ENVIRONMENT, "https://10.0.0.1:6443"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "https://10.0.0.1:443"),
        ({**ENVIRONMENT, "KUBERNETES_SERVICE_HOST": "fd00::1"}, "https://[fd00::1]:6443"),
        ({**ENVIRONMENT, "KUBECONFIG": ""}, "https://10.0.0.1:6443"),
    ],
)
def test_a_pod_finds_its_cluster(pod, environment, server):
    access = find_access(environment, pod)
    assert (access.server, access.namespace, access.token()) == (server, NAMESPACE, TOKEN)
    (pod / "token").write_text("rotated")
    assert access.token() == "rotated"
    assert access.tls().verify_mode is ssl.CERT_REQUIRED
    assert access.tls().check_hostname
    assert not access.tls().verify_flags & ssl.VERIFY_X509_STRICT


def test_what_a_pod_lacks_is_said_with_what_to_do(pod):
    with pytest.raises(AccessError, match="name a kubeconfig in KUBECONFIG, or give catalog_path"):
        find_access({}, pod)
    access = find_access(ENVIRONMENT, pod)
    (pod / "ca.crt").write_text("not PEM")
    with pytest.raises(AccessError, match="authority is no PEM certificate"):
        access.tls()
    (pod / "ca.crt").unlink()
    with pytest.raises(AccessError, match=r"ca.crt: No such file"):
        access.tls()
    (pod / "token").write_bytes(b"\xff")
    with pytest.raises(AccessError, match=r"token: not text"):
        access.token()
    (pod / "token").unlink()
    with pytest.raises(AccessError, match="automountServiceAccountToken: true"):
        find_access(ENVIRONMENT, pod)


def kubeconfig(tmp_path, cluster=None, user=None, **changes):
    path = tmp_path / "config"
    content = {
        "current-context": "b",
        "contexts": [{"name": "a", "context": {}}, {"name": "b", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
        **changes,
    }
    path.write_text(yaml.safe_dump(content))
    return path


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_kubeconfig_by_token(tmp_path):
    access = find_access({**ENVIRONMENT, "KUBECONFIG": str(kubeconfig(tmp_path, user={"token": "sesame"}))})
    assert (access.server, access.namespace, access.token()) == ("https://10.0.0.1:6443", "default", "sesame")
    (tmp_path / "token").write_text("of-a-file\n")
    assert from_kubeconfig(kubeconfig(tmp_path, user={"tokenFile": "token"})).token() == "of-a-file"
    for nobody in ({}, {"users": [{"name": "u", "user": None}]}):
        assert from_kubeconfig(kubeconfig(tmp_path, **nobody)).token() == ""


def test_a_kubeconfigs_certificates_in_files_and_in_itself(tmp_path):
    for name, content in (("ca", AUTHORITY), ("crt", CLIENT), ("key", CLIENT_KEY)):
        (tmp_path / name).write_text(content)
    files = kubeconfig(tmp_path, {"certificate-authority": "ca"}, {"client-certificate": "crt", "client-key": "key"})
    assert len(from_kubeconfig(files).tls().get_ca_certs()) == 1
    inside = {"client-certificate-data": encoded(CLIENT), "client-key-data": encoded(CLIENT_KEY)}
    itself = kubeconfig(tmp_path, {"certificate-authority-data": encoded(AUTHORITY)}, inside)
    assert len(from_kubeconfig(itself).tls().get_ca_certs()) == 1
    careless = kubeconfig(tmp_path, {"insecure-skip-tls-verify": True})
    assert from_kubeconfig(careless).tls().verify_mode is ssl.CERT_NONE
    mixed = kubeconfig(tmp_path, user={**inside, "client-key-data": encoded(AUTHORITY_KEY)})
    with pytest.raises(AccessError, match="certificate and key do not fit"):
        from_kubeconfig(mixed).tls()
    with pytest.raises(AccessError, match="client-key-data is not base64"):
        from_kubeconfig(kubeconfig(tmp_path, user={**inside, "client-key-data": "?"})).tls()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"user": {"exec": {"command": "aws"}}}, "needs a plugin; make one with a token"),
        ({"current-context": "none"}, "not a kubeconfig with a current context"),
        ({"clusters": []}, "not a kubeconfig with a current context"),
        ({"users": [{"name": "u", "user": 3}]}, "not a kubeconfig with a current context"),
        ({"contexts": "sesame"}, "not a kubeconfig with a current context"),
    ],
)
def test_a_kubeconfig_that_leads_nowhere(tmp_path, changes, told):
    with pytest.raises(AccessError, match=told) as refused:
        from_kubeconfig(kubeconfig(tmp_path, **changes))
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "token: [sesame", "\0"])
def test_a_file_that_is_no_kubeconfig(tmp_path, text):
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(AccessError, match="not a kubeconfig") as refused:
        from_kubeconfig(path)
    assert "sesame" not in str(refused.value)
    with pytest.raises(AccessError, match="No such file"):
        from_kubeconfig(tmp_path / "none")


async def test_a_pod_reads_over_tls_and_trusts_its_own_authority_only(pod, tls):
    async with ApiServer(tls=tls) as server:
        server.put("penstock-auth-head", b"payload")
        environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
        secrets = ClusterSecrets(find_access(environment, pod))
        assert await secrets.get("penstock-auth-head") == b"payload"
        await secrets.close()
        (pod / "ca.crt").write_text(CLIENT)
        with pytest.raises(ClusterError, match=r"cannot be reached: .*CERTIFICATE_VERIFY_FAILED"):
            await secrets.get("penstock-auth-head")
        # The cluster's authority is rotated too: a failure has the file read anew.
        (pod / "ca.crt").write_text(AUTHORITY + CLIENT)
        assert await secrets.get("penstock-auth-head") == b"payload"
        await secrets.close()
        (pod / "ca.crt").unlink()
        with pytest.raises(ClusterError, match=r"ca.crt: No such file"):
            await secrets.get("penstock-auth-head")
