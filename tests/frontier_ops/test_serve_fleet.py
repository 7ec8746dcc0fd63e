"""Which release answers while others come and go: backends without a model, real releases on disk, no HTTP."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from frontier_core.errors import DataError
from frontier_ops.deploy import deploy, prepare, rollback
from frontier_ops.probe import PROMPTS, Answer, compare_answers, make_probe
from frontier_ops.releases import Release, current_id, find_release, read_audit
from frontier_ops.serve_fleet import Fleet
from frontier_ops.serve_link import WorkerDown

JOB = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
WAIT_S = 240.0
TOP = [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -2.5}]


def checkpoint(folder: Path, weight: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "qwen3"}')
    (folder / "tokenizer.json").write_text("{}")
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<ff", weight, 0))
    return folder


class Backend:
    """Answers with what its weights and tokenizer say; misbehaves as told."""

    def __init__(self, path: Path, *, fails: str = "") -> None:
        self.weights = (path / "model.safetensors").read_bytes()[-8:].hex()
        self.tokenizer = (path / "tokenizer.json").read_text()
        self.fails = fails
        self.ready: dict[str, Any] | None = None
        self.on_death: Callable[[str], None] = lambda _: None
        self.pid = None
        self.is_closed = False
        self.closed = asyncio.Event()

    async def start(self) -> dict[str, Any]:
        if self.fails == "hang":
            await asyncio.Event().wait()
        if self.fails == "load":
            raise DataError("the weights lack 3 tensors", code="load")
        self.ready = {"dtype": "float32", "load_s": 0.1}
        return self.ready

    async def close(self) -> None:
        self.is_closed, self.ready = True, None
        self.closed.set()

    def die(self) -> None:
        self.ready = None
        self.on_death("ended with status -9")

    async def generate(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        if self.fails == "crash" or self.ready is None:
            self.die()
            raise WorkerDown(1)
        if self.fails == "slow":  # until it is closed, as a worker with a long answer
            await self.closed.wait()
            raise WorkerDown(1)
        if self.fails == "numbers":
            yield {"event": "error", "code": "generation_failed", "message": "the model's scores are not finite"}
            return
        if self.fails == "silence":
            await asyncio.Event().wait()
        ids = [ord(letter) for letter in self.tokenizer]
        tokens = [{"token": self.weights, "id": 1, "logprob": -0.5, "top": TOP}]
        yield {"event": "text", "text": "", "first": True}
        yield {"event": "text", "text": self.weights, "ids": [int(self.weights[:6], 16)], "tokens": tokens}
        if self.fails == "later":
            self.die()
            raise WorkerDown(1)
        yield {"event": "done", "finish_reason": "length", "prompt_tokens": len(ids), "completion_tokens": 1,
               "prompt_ids": ids}  # fmt: skip


class House:
    """A target, a fleet over it, and every backend that was opened."""

    def __init__(self, folder: Path, *, soak_s: float = 600.0, **patience: float) -> None:
        self.folder = folder
        self.target = folder / "target"
        self.opened: list[Backend] = []
        self.fails: dict[str, str] = {}
        self.notes: list[str] = []
        self.fleet = Fleet(self.target, self._open, soak_s=soak_s, on_note=self.notes.append, **patience)

    def _open(self, release: Release) -> Backend:
        self.opened.append(Backend(release.path, fails=self.fails.get(release.id, "")))
        return self.opened[-1]

    def put(self, weight: int, *, fails: str = "", spoil: Callable[[Path], None] = lambda _: None) -> str:
        """Deploys with the probe of the unspoilt model."""
        folder = checkpoint(self.folder / f"w{weight}{fails}", weight)
        probe = asyncio.run(self._probe(folder)) if not asyncio._get_running_loop() else None
        spoil(folder)
        shipment = prepare(folder, name=f"model{fails}" if fails else "model", probe=lambda *_: probe)
        self.fails[shipment.release] = fails
        return deploy(folder, self.target, shipment=shipment).release

    async def _probe(self, folder: Path) -> dict[str, Any]:
        backend = Backend(folder)
        await backend.start()
        return await make_probe(backend.generate, dtype="float32")

    async def ask(self) -> str:
        lease = await self.fleet.begin("model", JOB)
        return "".join([event.get("text", "") async for event in lease.events()])

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        async def session() -> None:
            await self.fleet.start(find_release(self.target))
            watch = asyncio.create_task(self.fleet.watch())
            try:
                await asyncio.wait_for(work(), WAIT_S)
            finally:
                watch.cancel()
                await self.fleet.close()

        asyncio.run(session())
        assert all(backend.is_closed for backend in self.opened)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.005)


def served(house: House) -> str:
    assert house.fleet.active is not None
    return house.fleet.active.release.id


def point(target: Path, release: str) -> None:
    os.symlink(f"releases/{release}", target / ".next")
    os.replace(target / ".next", target / "current")


def test_what_is_deployed_next_takes_over_and_the_old_one_stays_ready(house: House) -> None:
    old = house.put(1)
    new = house.put(2)
    point(house.target, old)

    async def work() -> None:
        assert await house.ask() == house.opened[0].weights
        lease = await house.fleet.begin("model", JOB)  # begun before the swap, finished after it
        point(house.target, new)
        await until(lambda: served(house) == new)
        assert [event["event"] async for event in lease.events()] == ["text", "text", "done"]
        assert await house.ask() == house.opened[1].weights != house.opened[0].weights
        assert house.fleet.find(f"model@{old}") is house.fleet.warm
        point(house.target, old)
        await until(lambda: served(house) == old)
        assert len(house.opened) == 2  # going back loads nothing

    house.run(work)
    states = [(entry["state"], entry["release"]) for entry in read_audit(house.target) if entry["action"] == "serve"]
    assert states == [("serving", new), ("serving", old)]


def truncate(release: Path) -> None:
    weights = release / "model.safetensors"
    data = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(data[:-1])


def flip(release: Path) -> None:
    weights = release / "model.safetensors"
    data = bytearray(weights.read_bytes())
    weights.unlink()
    data[-1] ^= 1
    weights.write_bytes(data)


def take_away(release: Path) -> None:
    (release / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(truncate, "bytes, not"), (flip, "other content of the same size"), (take_away, "tokenizer.json: missing")],
)
def test_a_release_that_is_damaged_on_the_target_is_rejected_and_current_put_back(
    house: House, damage: Callable[[Path], None], reason: str
) -> None:
    old, bad = house.put(1), house.put(2)
    point(house.target, old)
    damage(house.target / "releases" / bad)

    async def work() -> None:
        point(house.target, bad)
        await until(lambda: bad in house.fleet.rejected and current_id(house.target) == old)
        assert reason in house.fleet.rejected[bad]
        assert (served(house), await house.ask()) == (old, house.opened[0].weights)

    house.run(work)
    assert read_audit(house.target)[-1]["by"] == "serve"


def other_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"a": 1}')


def other_weights(folder: Path) -> None:
    checkpoint(folder, 77)


@pytest.mark.parametrize(
    ("fails", "spoil", "reason"),
    [
        ("", other_tokenizer, "another tokenizer or chat template"),
        ("", other_weights, "token 1 is another one: other weights"),
        ("load", lambda _: None, "the weights lack 3 tensors"),
        ("crash", lambda _: None, "died when it was asked its golden probe"),
        ("numbers", lambda _: None, "scores are not finite"),
    ],
)
def test_a_release_that_does_not_load_or_is_not_what_was_exported_is_rejected(
    house: House, fails: str, spoil: Callable[[Path], None], reason: str
) -> None:
    old = house.put(1)
    bad = house.put(2, fails=fails, spoil=spoil)
    point(house.target, old)

    async def work() -> None:
        point(house.target, bad)
        await until(lambda: bad in house.fleet.rejected and current_id(house.target) == old)
        assert reason in house.fleet.rejected[bad]
        assert (served(house), await house.ask()) == (old, house.opened[0].weights)

    house.run(work)


def test_a_release_that_dies_within_its_soak_hands_its_requests_to_the_one_before(house: House) -> None:
    old, new = house.put(1), house.put(2)
    point(house.target, old)

    async def work() -> None:
        point(house.target, new)
        await until(lambda: served(house) == new)
        house.opened[1].fails = "crash"
        assert await house.ask() == house.opened[0].weights  # the client never knows
        assert served(house) == old
        await until(lambda: current_id(house.target) == old)
        assert house.fleet.rejected[new] == "failed within its soak: ended with status -9"

    house.run(work)
    assert "rolled_back" in [entry.get("state") for entry in read_audit(house.target)]


@pytest.mark.parametrize("fails", ["hang", "silence"])
def test_a_release_that_hangs_at_its_loading_or_at_its_probe_is_rejected_and_the_next_is_taken(
    tmp_path: Path, fails: str
) -> None:
    house = House(tmp_path, load_s=0.2)
    old, bad, good = house.put(1), house.put(2, fails=fails), house.put(3)
    point(house.target, old)

    async def work() -> None:
        point(house.target, bad)
        await until(lambda: bad in house.fleet.rejected and current_id(house.target) == old)
        assert house.fleet.rejected[bad] == "it hangs: not loaded and probed within 0.2 s"
        assert await house.ask() == house.opened[0].weights
        house.fleet._load_s = WAIT_S
        point(house.target, good)
        await until(lambda: served(house) == good)

    house.run(work)


def test_a_release_that_falls_silent_within_its_soak_hands_all_its_requests_to_the_one_before(tmp_path: Path) -> None:
    house = House(tmp_path, hang_s=0.2)
    old, new = house.put(1), house.put(2)
    point(house.target, old)

    async def work() -> None:
        point(house.target, new)
        await until(lambda: served(house) == new)
        house.opened[1].fails = "silence"
        asking = [asyncio.create_task(house.ask()) for _ in range(3)]
        await until(lambda: house.fleet.slots()[0].num_running == 3 or served(house) == old)
        house.fleet._soak_until = 0.0  # the soak ends meanwhile; what began within it is judged by it
        assert await asyncio.gather(*asking) == [house.opened[0].weights] * 3
        await until(lambda: current_id(house.target) == old)
        assert house.fleet.rejected[new] == "failed within its soak: it hangs: 0.2 s without a word"

    house.run(work)


def test_a_release_that_dies_in_the_middle_of_an_answer_within_its_soak_breaks_no_stream(house: House) -> None:
    old, new = house.put(1), house.put(2)
    point(house.target, old)

    async def work() -> None:
        point(house.target, new)
        await until(lambda: served(house) == new)
        house.opened[1].fails = "later"  # after its first text, which a stream would have sent
        assert await house.ask() == house.opened[0].weights
        assert served(house) == old

    house.run(work)


def test_a_long_answer_of_a_release_on_trial_is_held_for_a_while_only(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("frontier_ops.serve_fleet.HOLD_S", 0.0)
    old, new = house.put(1), house.put(2)
    point(house.target, old)

    async def work() -> None:
        point(house.target, new)
        await until(lambda: served(house) == new)
        house.opened[1].fails = "later"
        lease = await house.fleet.begin("model", JOB)
        assert [event["text"] for event in lease.first] == ["", house.opened[1].weights]
        with pytest.raises(WorkerDown):
            _ = [event async for event in lease.events()]

    house.run(work)


def test_a_request_that_a_release_did_not_get_to_before_it_was_unloaded_is_asked_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("frontier_ops.serve_fleet.RETIRE_S", 0.0)
    first, second, third = (house.put(weight) for weight in (1, 2, 3))
    point(house.target, first)

    async def work() -> None:
        house.opened[0].fails = "slow"
        asked = asyncio.create_task(house.ask())
        for release in (second, third):  # the second swap leaves no room for the first release
            point(house.target, release)
            await until(lambda: served(house) == release)  # noqa: B023
        assert await asked == house.opened[2].weights

    house.run(work)


def test_after_the_soak_a_death_is_no_reason_to_go_back(tmp_path: Path) -> None:
    house = House(tmp_path, soak_s=0.0)
    old, new = house.put(1), house.put(2)
    point(house.target, old)

    async def work() -> None:
        point(house.target, new)
        await until(lambda: served(house) == new and "kept" in [e.get("state") for e in read_audit(house.target)])
        house.opened[1].die()
        with pytest.raises(WorkerDown):
            await house.ask()
        assert served(house) == new

    house.run(work)


def test_a_rejected_release_is_tried_again_when_it_is_deployed_again(house: House) -> None:
    old, bad = house.put(1), house.put(2)
    weights = house.target / "releases" / bad / "model.safetensors"
    good = weights.read_bytes()
    flip(house.target / "releases" / bad)
    point(house.target, old)

    async def work() -> None:
        point(house.target, bad)
        await until(lambda: bad in house.fleet.rejected and current_id(house.target) == old)
        weights.write_bytes(good)
        await until(lambda: not (house.target / ".lock").exists())
        await asyncio.to_thread(rollback, house.target, bad)
        await until(lambda: served(house) == bad)
        assert house.fleet.rejected == {}

    house.run(work)


def test_a_first_release_that_does_not_reproduce_its_probe_is_refused(house: House) -> None:
    house.put(1, spoil=other_tokenizer)

    async def start() -> None:
        try:
            await house.fleet.start(find_release(house.target))
        finally:
            await house.fleet.close()

    with pytest.raises(DataError, match="does not reproduce its golden probe: probe 1: the prompt becomes other"):
        asyncio.run(start())


CASE = {
    "prompt_ids": [1, 2, 3],
    "ids": [5, 6],
    "text": "ab",
    "tokens": ["a", "b"],
    "logprobs": [-0.5, -1.0],
    "margins": [2.0, 0.001],
}


def said(**changes: Any) -> Answer:
    values: dict[str, Any] = {
        "text": "ab", "prompt_tokens": 3, "prompt_ids": [1, 2, 3], "ids": [5, 6], "tokens": ["a", "b"],
        "logprobs": [-0.5, -1.0], "margins": [2.0, 0.001],
    }  # fmt: skip
    return Answer(**values | changes)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (said(), ""),
        (said(logprobs=[-0.5005, -1.0]), ""),
        (said(logprobs=[-0.502, -1.0]), "the log-probability of token 1 is off by 0.0020"),
        (said(prompt_ids=[1, 2, 4]), "another tokenizer or chat template"),
        (said(prompt_ids=[], prompt_tokens=4), "another chat template"),
        (said(ids=[7, 6]), "token 1 is another one"),
        (said(ids=[5, 9]), ""),  # the two likeliest were closer than rounding
        (said(ids=[5, 6, 7]), "goes on where it should end"),
        (said(ids=[5]), ""),
        (said(ids=[], tokens=["b", "b"]), "token 1 is another one"),
        (said(ids=[], tokens=[], logprobs=[]), ""),
        (said(ids=[], tokens=[], logprobs=[], text="ac"), "another text"),
    ],
)
def test_an_answer_is_held_against_the_probe_within_the_tolerance(answer: Answer, words: str) -> None:
    found = compare_answers(CASE, answer, 1e-3)
    assert (words in found) if words else found == ""


def test_probe_prompts_are_unlike_each_other() -> None:
    assert len(PROMPTS) == 3
    assert {len(prompt) for prompt in PROMPTS} == {1, 2, 3}


def test_with_a_key_only_health_and_metrics_answer_those_who_do_not_show_it(house: House) -> None:
    pytest.importorskip("httpx")
    testclient = pytest.importorskip("starlette.testclient")
    from frontier_ops.serve_app import Front
    from frontier_ops.serve_log import RequestLog

    http = testclient.TestClient(Front(house.fleet, RequestLog(None, house.notes.append), api_key="secret").app())

    for header in ({}, {"authorization": "Bearer no"}):
        refused = http.get("/v1/models", headers=header)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert http.get("/v1/models", headers={"authorization": "Bearer secret"}).json() == {"object": "list", "data": []}
    assert http.get("/healthz").status_code == 200
    assert http.get("/readyz").json()["status"] == "loading"
