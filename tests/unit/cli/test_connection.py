import pytest

from penstock_chassis.secret import Secret
from penstock_cli import connection
from penstock_cli.errors import UnreachableError
from penstock_cli.settings import CliSettings


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("DATA_DIR", "SERVER", "ADMIN_TOKEN"):
        monkeypatch.delenv(f"PENSTOCK_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in (".penstock", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "admin-url").write_text(f"http://127.0.0.1:1/{name}\n")
        (tmp_path / name / "admin-token").write_text(f"token-{name}\n")
    return tmp_path


def found(data_dir=None, server=None, environment=None):
    at = connection.find(data_dir, server, environment or CliSettings.read())
    return at.server, at.token


def test_a_local_gateway_needs_nothing(home):
    assert found() == ("http://127.0.0.1:1/.penstock", "token-.penstock")


def test_a_data_dir_is_enough(home):
    other = ("http://127.0.0.1:1/other", "token-other")
    assert found(home / "other") == other
    assert connection.find(None, None, CliSettings(data_dir=home / "other")).server == other[0]
    assert found(home / "other", None, CliSettings(admin_token=Secret("t"))) == other


def test_the_environment_names_a_server(home):
    environment = CliSettings(server="https://admin.example/", admin_token=Secret("t"))
    assert found(environment=environment) == ("https://admin.example", "t")


def test_an_option_wins_over_the_environment(home):
    at = connection.find(home / "other", None, CliSettings(server="https://admin.example", admin_token=Secret("t")))
    assert at.server.endswith("/other")
    at = connection.find(
        None, "https://one.example", CliSettings(server="https://two.example", admin_token=Secret("t"))
    )
    assert at.server == "https://one.example"


def test_a_token_is_not_sent_to_strangers(home):
    with pytest.raises(UnreachableError, match="PENSTOCK_ADMIN_TOKEN"):
        found(None, "https://stranger.example")
    with pytest.raises(UnreachableError):
        found(None, "http://127.0.0.1.stranger.example")
    for server in ("http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9"):
        assert found(None, server) == (server, "token-.penstock")
    assert found(home / "other", "https://mine.example") == ("https://mine.example", "token-other")


def test_a_token_is_not_shown(home):
    assert "token-" not in repr(connection.find(None, None, CliSettings.read()))


def test_where_nothing_runs(home):
    with pytest.raises(UnreachableError, match="penstock up"):
        found(home / "nowhere")
    (home / "other" / "admin-token").unlink()
    with pytest.raises(UnreachableError, match="no token"):
        found(home / "other")
    (home / "other" / "admin-url").unlink()
    (home / "other" / "admin-url").mkdir()
    with pytest.raises(UnreachableError, match="cannot read"):
        found(home / "other")


@pytest.mark.parametrize("token", ["sesame\nopen", "sesame open", "sésame", "sesame\x00"])
def test_a_token_that_no_header_can_carry_is_not_shown(home, token):
    for read_from in ("the environment", "a file"):
        environment = CliSettings(admin_token=Secret(token)) if read_from == "the environment" else CliSettings()
        (home / ".penstock" / "admin-token").write_text(token, "utf-8")
        with pytest.raises(
            UnreachableError, match=r"token for http://127\.0\.0\.1:1/\.penstock is not one word"
        ) as caught:
            connection.find(None, None, environment)
        assert "same" not in str(caught.value)


def test_a_last_newline_is_not_of_the_token(home):
    assert found(None, None, CliSettings(admin_token=Secret("t\n")))[1] == "t"


def test_what_is_no_url_is_told(home):
    with pytest.raises(UnreachableError, match=r"http://\[ is not an http or https URL"):
        found(None, "http://[")


def test_an_empty_variable_says_nothing(home, monkeypatch):
    for name in ("DATA_DIR", "SERVER", "ADMIN_TOKEN", "API_KEY"):
        monkeypatch.setenv(f"PENSTOCK_{name}", "")
    assert CliSettings.read() == CliSettings()
    assert found() == ("http://127.0.0.1:1/.penstock", "token-.penstock")
    assert CliSettings.read({"penstock_server": "http://a"}).server == "http://a"
