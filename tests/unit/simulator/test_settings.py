import pytest

from penstock_simulator.settings import AccountSettings, SimulatorSettings


def test_from_the_environment(monkeypatch):
    accounts = '[{"name": "x", "key": "k", "limits": {"requests_per_minute": 5}}]'
    monkeypatch.setenv("PENSTOCK_SIMULATOR_ACCOUNTS", accounts)
    monkeypatch.setenv("PENSTOCK_SIMULATOR_PORT", "4711")
    monkeypatch.setenv("PENSTOCK_SIMULATOR_FAULTS", '[{"account": "x", "set": {"fault": "529"}}]')
    settings = SimulatorSettings.read()
    assert settings.port == 4711
    assert settings.accounts[0].limits.requests_per_minute == 5
    assert settings.faults[0].set == {"fault": "529"}


def test_one_account_by_default():
    assert [(one.name, one.key) for one in SimulatorSettings.read().accounts] == [("sim-a", "sim-key-a")]


@pytest.mark.parametrize(
    "accounts",
    [
        (),
        (AccountSettings(name="a", key="k"), AccountSettings(name="a", key="l")),
        (AccountSettings(name="a", key="k"), AccountSettings(name="b", key="k")),
    ],
)
def test_accounts_are_distinct(accounts):
    with pytest.raises(ValueError, match="distinct"):
        SimulatorSettings(accounts=accounts)
