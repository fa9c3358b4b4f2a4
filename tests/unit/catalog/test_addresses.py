"""Which addresses are public and encrypted."""

import pytest

from penstock_catalog import addresses


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://api.anthropic.com", True),
        ("https://api.anthropic.com:8443/v2", True),
        ("https://8.8.8.8", True),
        ("https://[2606:4700::1111]", True),
        ("http://api.anthropic.com", False),
        ("https://127.0.0.1", False),
        ("https://10.1.2.3:8443", False),
        ("https://169.254.169.254", False),
        ("https://[::1]", False),
        ("https://[fd00::1]", False),
        ("https://[::ffff:10.0.0.1]", False),
        ("https://0.0.0.0", False),
        ("https://localhost", False),
        ("https://LOCALHOST.", False),
        ("https://simulator", False),
        ("https://2130706433", False),
        ("https://x.default.svc", False),
        ("https://x.default.svc.cluster.local.", False),
        ("https://metadata.google.internal", False),
    ],
)
def test_refusals(url, allowed):
    assert (addresses.refusal(url) == "") is allowed
