"""Orders to a run: files and signals, the stronger wins, each is obeyed once."""

import json
import os
import signal
import threading

import pytest

from trainer import control
from trainer.control import Control


@pytest.fixture
def orders(tmp_path):
    with Control(tmp_path / "control", run_id="r1") as held:
        yield held


def state(held):
    return json.loads((held.folder / "state.json").read_bytes())


@pytest.mark.parametrize("name", ["pause", "skip", "stop"])
def test_an_order_file_is_obeyed_once_and_goes(orders, name):
    (orders.folder / f".{name}").touch()
    assert orders.next_order() == name
    assert orders.next_order() == ""
    assert not (orders.folder / f".{name}").exists()


def test_the_stronger_of_two_orders_wins_and_both_go(orders):
    for name in (".pause", ".stop", ".skip"):
        (orders.folder / name).touch()
    assert orders.next_order() == "stop"
    assert not list(orders.folder.glob(".*"))
    assert orders.is_stopped


def test_a_resume_without_a_pause_means_nothing(orders):
    (orders.folder / ".resume").touch()
    assert orders.next_order() == ""


@pytest.mark.parametrize(
    ("number", "order"), [(signal.SIGUSR1, "pause"), (signal.SIGUSR2, "skip"), (signal.SIGTERM, "stop")]
)
def test_a_signal_says_the_same_as_a_file(orders, number, order):
    signal.raise_signal(number)
    assert orders.next_order() == order


def test_handlers_are_put_back_and_the_stop_is_delivered_again(tmp_path):
    reached = []
    former = signal.signal(signal.SIGTERM, lambda number, frame: reached.append(number))
    try:
        with Control(tmp_path) as held:
            signal.raise_signal(signal.SIGTERM)
            assert (held.signal, reached) == (signal.SIGTERM, [])
        held.raise_again()
        assert reached == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, former)


def test_a_second_stop_is_hasty(orders):
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert orders.is_hasty


@pytest.mark.parametrize("ending", ["resume", "stop", "skip"])
def test_a_paused_run_waits_for_its_next_order(orders, monkeypatch, ending):
    seen = []

    def pass_time(_seconds):
        seen.append(state(orders)["status"])
        if len(seen) == 3:
            (orders.folder / f".{ending}").touch()

    monkeypatch.setattr(control.time, "sleep", pass_time)
    assert orders.wait(7, 20) == ending
    assert seen == ["paused"] * 3
    assert state(orders)["status"] == ("processing" if ending == "resume" else "paused")
    assert (state(orders)["step"], state(orders)["num_steps"], state(orders)["pid"]) == (7, 20, os.getpid())


def test_the_pause_signal_ends_a_pause_too(orders, monkeypatch):
    monkeypatch.setattr(control.time, "sleep", lambda _: signal.raise_signal(signal.SIGUSR1))
    assert orders.wait(1, 2) == "resume"


def test_several_processes_obey_what_any_was_told(orders):
    assert orders.next_order(agree=lambda mine: max(mine, control.ORDERS.index("stop"))) == "stop"


def test_a_listener_reads_and_writes_no_files(tmp_path):
    with Control(tmp_path / "control", is_writer=False) as held:
        held.report("processing", 1, 2)
        assert held.next_order() == ""
    assert not (tmp_path / "control").exists()


def test_outside_the_main_thread_files_still_work(tmp_path):
    found = []

    def work():
        with Control(tmp_path) as held:
            (tmp_path / ".skip").touch()
            found.append(held.next_order())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["skip"]
