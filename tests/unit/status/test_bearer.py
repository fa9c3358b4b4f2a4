import pytest

from penstock_chassis.process import StartError
from penstock_status.bearer import BearerToken


def test_only_the_token_is_accepted():
    token = BearerToken("a-token-of-some-length")
    assert token.accepts("a-token-of-some-length")
    assert not token.accepts("a-token-of-some-lengt")
    assert not token.accepts("")
    assert "length" not in repr(vars(token))


def test_the_file_is_read_without_its_newline(tmp_path):
    path = tmp_path / "token"
    path.write_text("a-token-of-some-length\n")
    assert BearerToken.read(path).accepts("a-token-of-some-length")


@pytest.mark.parametrize(
    "content", [None, "", "short", b"\xff" * 32, "\ufeff" + "a" * 32, "ä" * 32, "a" * 32 + "\n" + "b" * 32]
)
def test_a_bad_file_stops_the_start(tmp_path, content):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StartError, match="admin token"):
        BearerToken.read(path)
