"""Tiles on several cores."""

import threading
from collections.abc import Iterator

import pytest
import torch

from lessons_lib.models import build, restore
from lessons_lib.models.workers import in_parallel


@pytest.fixture(autouse=True)
def three_cores():
    """As many threads as cores to share out, whatever the machine has; afterwards as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def seen_by_a_new_thread() -> int:
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_and_jobs_as_they_are_needed(workers):
    taken = []

    def jobs() -> Iterator[int]:
        for number in range(40):
            taken.append(number)
            yield number

    for number, result in enumerate(in_parallel(lambda job: job * job, jobs(), workers)):
        assert result == number**2
        assert len(taken) - number <= 2 * workers
    assert taken == list(range(40))


def test_each_worker_has_one_core_and_all_others_keep_theirs():
    gate = threading.Barrier(3, timeout=30)  # all three are at work at once

    def look(_: int) -> int:
        gate.wait()
        return torch.get_num_threads()

    assert list(in_parallel(look, iter(range(6)), 3)) == [1] * 6
    assert torch.get_num_threads() == seen_by_a_new_thread() == 3


def test_a_failure_is_passed_on_and_leaves_nothing_behind():
    threads = threading.active_count()
    results = in_parallel(lambda job: 1 / job, iter([2, 1, 0, *range(1, 90)]), 3)
    assert next(results) == 0.5
    assert next(results) == 1.0
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert threading.active_count() == threads
    assert torch.get_num_threads() == seen_by_a_new_thread() == 3


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_cores_change_nothing_but_time(precision):
    model = build("groupsc", {"patch": 5, "atoms": 20, "steps": 3, "refresh": 1, "window": 9})
    noisy = torch.rand(2, 1, 50, 61, generator=torch.Generator().manual_seed(0))
    several = restore(model, noisy, tile=20, precision=precision)
    torch.set_num_threads(1)
    one = restore(model, noisy, tile=20, precision=precision, memory=1.0)
    torch.testing.assert_close(several, one, rtol=0, atol=1e-6 if precision == "fp32" else 4e-3)


def test_who_stops_in_the_middle_gets_the_cores_back():
    model = build("sc", {"patch": 5, "atoms": 20, "steps": 3})

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        restore(model, torch.rand(1, 1, 90, 90), tile=20, precision="fp32", progress=stop)
    assert threading.active_count() == threads
    assert torch.get_num_threads() == seen_by_a_new_thread() == 3
