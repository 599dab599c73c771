import pytest
from support.clock import FixedClock

from case_server.auth import throttle as module
from case_server.auth.throttle import LoginThrottle, TooManyAttempts


@pytest.fixture
def throttle(clock: FixedClock) -> LoginThrottle:
    return LoginThrottle(clock)


def wait(throttle: LoginThrottle, client: str, address: str, *, proven: bool = False) -> int:
    """Return the seconds until the next attempt is allowed, 0 if it is allowed now."""
    try:
        throttle.check_login_allowed(client, address, was_recently_verified=proven)
    except TooManyAttempts as error:
        return error.seconds
    return 0


def test_delay_doubles_with_each_failure(throttle: LoginThrottle, clock: FixedClock) -> None:
    waits = []
    for _ in range(14):
        throttle.record_failure("robot", "10.0.0.1")
        waits.append(wait(throttle, "robot", "10.0.0.1"))
        clock.now += waits[-1]
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_other_clients_and_addresses_are_not_delayed(throttle: LoginThrottle) -> None:
    for _ in range(10):
        throttle.record_failure("robot", "10.0.0.1")
    assert wait(throttle, "robot", "10.0.0.1")
    assert not wait(throttle, "robot", "10.0.0.2")
    assert not wait(throttle, "other", "10.0.0.1")


def test_address_that_tries_many_clients_is_delayed(throttle: LoginThrottle) -> None:
    for number in range(20):
        assert not wait(throttle, f"robot-{number}", "10.0.0.1")
        throttle.record_failure(f"robot-{number}", "10.0.0.1")
    assert wait(throttle, "one-more", "10.0.0.1")
    assert not wait(throttle, "one-more", "10.0.0.2")


def test_client_tried_from_many_addresses_is_delayed(throttle: LoginThrottle) -> None:
    for number in range(100):
        throttle.record_failure("robot", f"10.0.0.{number}")
    assert wait(throttle, "robot", "10.0.1.1")
    assert not wait(throttle, "robot", "10.0.1.1", proven=True)
    assert not wait(throttle, "other", "10.0.1.1")


def test_verified_secret_does_not_lift_address_delay(throttle: LoginThrottle) -> None:
    for _ in range(5):
        throttle.record_failure("robot", "10.0.0.1")
    assert wait(throttle, "robot", "10.0.0.1", proven=True)


def test_ipv6_network_counts_as_one_address(throttle: LoginThrottle) -> None:
    for number in range(5):
        throttle.record_failure("robot", f"2001:db8::{number}")
    assert wait(throttle, "robot", "2001:db8::ffff")
    assert not wait(throttle, "robot", "2001:db8:0:1::1")


def test_ipv4_addresses_in_ipv6_form_are_separate(throttle: LoginThrottle) -> None:
    for _ in range(5):
        throttle.record_failure("robot", "::ffff:10.0.0.1")
    assert wait(throttle, "robot", "::ffff:10.0.0.1")
    assert wait(throttle, "robot", "10.0.0.1")
    assert not wait(throttle, "robot", "::ffff:10.0.0.2")


def test_success_or_time_resets_counter(throttle: LoginThrottle, clock: FixedClock) -> None:
    for _ in range(4):
        throttle.record_failure("robot", "10.0.0.1")
    throttle.record_success("robot", "10.0.0.1")
    throttle.record_failure("robot", "10.0.0.1")
    assert not wait(throttle, "robot", "10.0.0.1")
    for _ in range(5):
        throttle.record_failure("robot", "10.0.0.1")
    clock.now += 901
    throttle.record_failure("robot", "10.0.0.1")
    assert not wait(throttle, "robot", "10.0.0.1")


def test_memory_is_bounded(throttle: LoginThrottle, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.MAX_COUNTERS == 10_000
    monkeypatch.setattr(module, "MAX_COUNTERS", 50)
    for number in range(200):
        throttle.record_failure("x" * 100_000 + str(number), f"10.0.{number}.1")
    assert len(throttle._counts) == 50
    assert all(len(part) <= 255 for key in throttle._counts for part in key)


def test_success_subtracts_failures_from_address_counter(throttle: LoginThrottle) -> None:
    for _ in range(50):
        throttle.record_failure("robot", "10.0.0.1")
        throttle.record_success("robot", "10.0.0.1")
    assert not wait(throttle, "robot", "10.0.0.1")
    assert not wait(throttle, "other", "10.0.0.1")
    assert not wait(throttle, "robot", "10.0.0.2")


def test_success_keeps_failures_of_other_clients(throttle: LoginThrottle) -> None:
    for number in range(20):
        throttle.record_failure(f"guess-{number}", "10.0.0.1")
        throttle.record_failure("own", "10.0.0.1")
        throttle.record_success("own", "10.0.0.1")
    assert wait(throttle, "one-more", "10.0.0.1")


def test_success_after_reset_subtracts_nothing(throttle: LoginThrottle, clock: FixedClock) -> None:
    for _ in range(4):
        throttle.record_failure("own", "10.0.0.1")
    clock.now += module.RESET_AFTER_SECONDS + 1
    for number in range(20):
        throttle.record_failure(f"guess-{number}", "10.0.0.1")
    throttle.record_success("own", "10.0.0.1")
    assert wait(throttle, "one-more", "10.0.0.1")


def test_clear_removes_all_failures(throttle: LoginThrottle) -> None:
    for number in range(150):
        throttle.record_failure("robot", f"10.0.0.{number % 3}")
    throttle.clear()
    assert not wait(throttle, "robot", "10.0.0.1")
