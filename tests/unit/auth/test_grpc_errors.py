"""How auth's errors reach callers and the log."""

from penstock_auth.grpc_errors import Repetitions


def test_of_the_same_failures_one_in_ten_seconds_is_logged_and_says_how_many_were_not():
    now = 50.0
    repetitions = Repetitions(lambda: now)
    assert repetitions.skipped("store_down", "Allow") == 0
    assert [repetitions.skipped("store_down", "Allow") for _ in range(3)] == [None] * 3
    assert repetitions.skipped("store_down", "Settle") == 0
    assert repetitions.skipped("database_down", "Allow") == 0
    now = 59.9
    assert repetitions.skipped("store_down", "Allow") is None
    now = 60.0
    assert repetitions.skipped("store_down", "Allow") == 4
    now = 70.0
    assert repetitions.skipped("store_down", "Allow") == 0
