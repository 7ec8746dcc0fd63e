"""Asking the vault and the scheduler over a real connection to `frontier api`'s application."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from frontier_core.errors import ServiceHttpError, ServiceUnavailable
from frontier_core.jsonl import write_records
from frontier_core.lineage import write_sidecar
from frontier_ops.hosts import Service
from frontier_ops.jobs.job import State
from frontier_ops.jobs.store import JobStore
from frontier_ops.monitor.api import monitor_api
from frontier_ops.service_clients import TaskClient, VaultClient
from frontier_ops.services import ServiceClient
from frontier_ops.web import serve_app


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    data = home / "rounds/0001/train.jsonl"
    data.parent.mkdir(parents=True)
    write_records(data, [{"text": "1"}])
    write_sidecar(data, stage="synth format", inputs=[])
    return home


@pytest.fixture(scope="module")
def http(home: Path) -> Iterator[ServiceClient]:
    ready, url = threading.Event(), []

    def on_ready(address: str) -> None:
        url.append(address)
        ready.set()

    serving = {"host": "127.0.0.1", "port": 0, "on_ready": on_ready, "token": "secret"}
    threading.Thread(target=serve_app, args=[monitor_api(home)], kwargs=serving, daemon=True).start()
    assert ready.wait(240)
    with ServiceClient(Service(name="vault", url=url[0], api_key="secret")) as client:
        yield client


def test_the_vault_gives_files_by_digest_and_takes_jobs_into_its_ledger(http: ServiceClient) -> None:
    vault = VaultClient(http)

    (asset,) = vault.assets("0001/train")
    assert (asset["file"], asset["bytes"]) == ("rounds/0001/train.jsonl", 13)
    assert vault.asset(asset["sha256"][:12]) == asset
    assert vault.assets("nowhere") == []
    with pytest.raises(ServiceHttpError) as unknown:
        vault.asset("000000")
    assert unknown.value.status == 404

    job = vault.submit_job({"type": "report", "argv": ["true"], "priority": "high"})
    assert vault.job(job["id"]) == job
    assert vault.ledger(limit=1)[0]["job"] == job["id"]
    with pytest.raises(ServiceHttpError) as refused:
        vault.submit_job({"type": "reprot", "argv": ["true"]})
    assert (refused.value.status, "unknown job type 'reprot'" in refused.value.hint) == (400, True)


def test_the_scheduler_queues_a_task_and_tells_its_end(http: ServiceClient, home: Path) -> None:
    waits: list[float] = []

    def work(seconds: float) -> None:
        waits.append(seconds)
        store = JobStore(home)
        store.finish(store.claim("w", roles=["eval_worker"]), State.COMPLETED, exit_code=0)
        store.close()

    tasks = TaskClient(http, sleep=work)
    payload = {"skill_id": "bin", "level": 5, "checkpoint_id": "checkpoint-175000"}
    task = tasks.submit("eval", ["true"], payload=payload)
    assert (task["state"], task["spec"]["payload"]) == ("queued", payload)

    ended = tasks.wait(task["id"])

    assert (ended["state"], ended["exit_code"], len(waits)) == ("completed", 0, 1)
    assert tasks.tasks()[0]["id"] == task["id"]
    assert tasks.warnings()["summary"] == {"total": 0, "critical": 0, "warning": 0}


def test_a_task_that_takes_longer_than_one_waits_is_left_to_go_on(http: ServiceClient) -> None:
    times = iter((0.0, 1.0, 5.0))
    tasks = TaskClient(http, sleep=lambda _: None, clock=lambda: next(times))
    task = tasks.submit("analytics", ["true"])

    with pytest.raises(ServiceUnavailable, match=f"{task['id']} is queued after 4 s"):
        tasks.wait(task["id"], timeout_s=4)
