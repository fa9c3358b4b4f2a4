"""A file or Secrets: exactly one, and what to do when it is not so."""

from pathlib import Path

import pytest

from penstock_catalog.cluster_access import AccessError
from penstock_catalog.documents import AuthCatalog
from penstock_catalog.secret_source import SecretSource
from penstock_catalog.sources import DocumentSource
from penstock_catalog.whereabouts import Whereabouts
from tests.apiserver import ApiServer

FILE = Path("/catalog/auth.json")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "set catalog_path to the document's file, or in a cluster catalog_secrets to the prefix"),
        ({"path": FILE, "secrets": "penstock-auth"}, "are both set: take one of them away"),
        ({"path": FILE, "namespace": "gateway"}, "catalog_namespace is for catalog_secrets"),
        ({"secrets": ""}, "such as penstock-router"),
        ({"secrets": "Penstock"}, "such as penstock-router"),
        ({"secrets": "penstock-"}, "such as penstock-router"),
        ({"secrets": "a/../b"}, "such as penstock-router"),
        ({"secrets": "a" * 64}, "such as penstock-router"),
        ({"secrets": "a", "namespace": "a/b"}, "catalog_namespace is no namespace's name"),
    ],
)
def test_what_does_not_make_one_catalog_is_refused_with_what_to_do(given, told):
    with pytest.raises(ValueError, match=told):
        Whereabouts(**given)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"path": FILE}, "/catalog/auth.json"),
        ({"secrets": "penstock-auth"}, "in Secrets penstock-auth-*"),
        ({"secrets": "a", "namespace": "gateway"}, "in Secrets a-* of namespace gateway"),
    ],
)
def test_it_says_where(given, text):
    assert str(Whereabouts(**given)) == text


def test_a_file_needs_no_cluster(monkeypatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert isinstance(Whereabouts(FILE).open(AuthCatalog, print), DocumentSource)


def test_secrets_need_one(monkeypatch, tmp_path):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    where = Whereabouts(secrets="penstock-auth")
    with pytest.raises(AccessError, match="or give catalog_path instead"):
        where.open(AuthCatalog, print)
    monkeypatch.setenv("KUBECONFIG", str(ApiServer(port=1).kubeconfig(tmp_path)))
    source = where.open(AuthCatalog, print)
    assert isinstance(source, SecretSource)
    assert source._secrets.namespace == "gateway"
    assert Whereabouts(secrets="a", namespace="other").open(AuthCatalog, print)._secrets.namespace == "other"
