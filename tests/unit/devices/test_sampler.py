"""The sampling thread: steady, quick to stop, and alive whatever the driver does."""

import threading
import time

from studio.core.errors import MachineError
from studio.core.facts import DeviceSample
from studio.devices import Sampler


def fake_sample(device_id: str, _pid: int | None) -> DeviceSample:
    return DeviceSample(device=device_id, time=time.time(), used_bytes=0, free_bytes=0, total_bytes=0)


def test_that_samples_arrive_until_it_is_stopped() -> None:
    taken: list[DeviceSample] = []
    third = threading.Event()

    def sink(sample: DeviceSample) -> None:
        taken.append(sample)
        if len(taken) == 3:
            third.set()

    with Sampler("cpu", None, 0.005, sink, read=fake_sample):
        assert third.wait(5)
    count = len(taken)
    assert not any(thread.name == "sampler cpu" for thread in threading.enumerate())
    assert len(taken) == count


def test_that_it_stops_at_once_in_the_middle_of_a_long_interval() -> None:
    first = threading.Event()
    sampler = Sampler("cpu", None, 3600, lambda _: first.set(), read=fake_sample)
    sampler.start()
    assert first.wait(5)
    began = time.monotonic()
    sampler.stop()
    assert time.monotonic() - began < 0.2


def test_that_it_stops_even_while_the_driver_hangs() -> None:
    inside, release = threading.Event(), threading.Event()
    taken: list[DeviceSample] = []

    def hang(device_id: str, pid: int | None) -> DeviceSample:
        inside.set()
        release.wait(10)
        return fake_sample(device_id, pid)

    sampler = Sampler("cuda:0", None, 0.01, taken.append, read=hang)
    sampler.start()
    assert inside.wait(5)
    began = time.monotonic()
    sampler.stop()
    assert time.monotonic() - began < 0.4
    release.set()
    sampler.stop()
    assert taken == []


def test_that_a_failing_device_does_not_end_it() -> None:
    answers = iter([MachineError("gone"), MachineError("gone"), None])
    again = threading.Event()

    def flaky(device_id: str, pid: int | None) -> DeviceSample:
        error = next(answers, None)
        if error:
            raise error
        return fake_sample(device_id, pid)

    sampler = Sampler("cuda:0", None, 0.001, lambda _: again.set(), read=flaky)
    with sampler:
        assert again.wait(5)
    assert sampler.problem == ""


def test_that_it_says_why_there_are_no_samples() -> None:
    asked = threading.Event()

    def gone(_device_id: str, _pid: int | None) -> DeviceSample:
        asked.set()
        raise MachineError("the GPU is gone")

    with Sampler("cuda:0", None, 0.001, lambda _: None, read=gone) as sampler:
        assert asked.wait(5)
    assert sampler.problem == "the GPU is gone"


def test_that_stopping_a_sampler_that_never_started_is_harmless() -> None:
    Sampler("cpu", None, 1, lambda _: None, read=fake_sample).stop()
