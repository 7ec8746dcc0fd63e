"""`frontier doctor`: nine groups of checks over machine, services, models and data, each finding with its remedy.

quick (this installation), api (services), forge (GPU, memory, disk), weaver (processes and locks), champion (model and
releases), oracle (inference), guild (skills and jobs), scribe (data and evaluations), deep (every byte, and the model
itself). Looks and never mends. A run's verdict is doctor_run.py; the groups are the seed's nine orders.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from frontier_core.errors import ConfigError, FrontierError
from frontier_core.nearest import did_you_mean
from frontier_ops.doctor_run import Check

GROUPS = ("quick", "api", "forge", "weaver", "champion", "oracle", "guild", "scribe", "deep")
MIN_FREE_BYTES = 2 << 30
MIN_MEMORY_BYTES = 1 << 30
HOT_CELSIUS = 85
QUESTION = "What is 7 + 5?"
WAIT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is looked at besides the machine: a run, a deploy target, a server, data files, a home with its queue.

    Each may be absent; a home where nothing was ever queued is left alone.
    """

    run: Path | None = None
    target: Path | None = None
    url: str = ""
    api_key: str = field(default="", repr=False)
    data: Sequence[str] = ()
    hosts: Path | None = None
    home: Path = Path()


def examine(scope: Scope, groups: Sequence[str] = (), *, deep: bool = False) -> Iterator[Check]:
    """Yields findings, group by group.

    Args:
        scope: what to look at.
        groups: only these; empty is all but `deep`.
        deep: also the deep group, which reads every byte and loads the model.
    Raises:
        ConfigError: there is no such group; names the nearest.
    """
    for name in groups:
        if name not in GROUPS:
            raise ConfigError(f"unknown group {name!r}", hint=did_you_mean(name, GROUPS))
    for name in groups or GROUPS:
        if name == "deep" and not deep and "deep" not in groups:
            continue
        yield from _GROUPS[name](scope)


def _check(group: str, name: str, problem: str, good: str, remedy: str, *, is_warning: bool = False) -> Check:
    status = "ok" if not problem else "warn" if is_warning else "fail"
    return Check(id=name, group=group, status=status, details=problem or good, remedy=remedy if problem else "")


def _skip(group: str, name: str, why: str, remedy: str = "") -> Check:
    return Check(id=name, group=group, status="skip", details=why, remedy=remedy)


def _quick(_: Scope) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    old = f"Python {version} is older than 3.11" if sys.version_info < (3, 11) else ""
    yield _check("quick", "python", old, f"Python {version}", "install Python 3.11 or newer")
    missing = [name for name in ("orjson", "numpy", "yaml", "typer") if find_spec(name) is None]
    words = f"not installed: {', '.join(missing)}" if missing else ""
    yield _check("quick", "packages", words, "the base packages import", "pip install frontier-data-engine")
    extras = [name for name in ("torch", "transformers", "starlette", "httpx") if find_spec(name) is None]
    words = f"not installed: {', '.join(extras)}" if extras else ""
    remedy = "pip install 'frontier-data-engine[serve]' to train and serve"
    yield _check("quick", "extras", words, "training and serving can run here", remedy, is_warning=True)
    try:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"x")
        words = ""
    except OSError as error:
        words = f"{tempfile.gettempdir()} can't be written: {error.strerror}"
    yield _check("quick", "temp", words, f"{tempfile.gettempdir()} can be written", "set TMPDIR to another folder")


def _api(scope: Scope) -> Iterator[Check]:
    from frontier_ops.hosts import HOSTS_FILE
    from frontier_ops.hosts_check import check_hosts

    if scope.hosts is None and not HOSTS_FILE.is_file():
        yield _skip("api", "hosts", f"no {HOSTS_FILE}: one machine", "cp config/hosts.example.json config/hosts.json")
        return
    try:
        for finding in check_hosts(scope.hosts):
            words = "" if finding.is_up else f"{finding.what} on {finding.host} ({finding.where}): {finding.details}"
            good = f"{finding.what} on {finding.host}: {finding.details}"
            yield _check("api", f"service_{finding.what}", words, good, "start it, or correct config/hosts.json")
    except FrontierError as error:
        yield _check("api", "hosts", error.message, "", error.hint)


def _forge(scope: Scope) -> Iterator[Check]:
    place = scope.run or scope.target or Path()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    words = f"{place}: {free / 1e9:.1f} GB free" if free < MIN_FREE_BYTES else ""
    yield _check("forge", "disk", words, f"{free / 1e9:.0f} GB free", "frontier checkpoints prune, deploy prune")
    available = _available_bytes()
    words = f"{available / 1e9:.1f} GB of memory available" if available < MIN_MEMORY_BYTES else ""
    yield _check("forge", "memory", words, f"{available / 1e9:.1f} GB of memory available", "end other programs")
    yield from _gpus()


def _available_bytes() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return MIN_MEMORY_BYTES


def _gpus() -> Iterator[Check]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        yield _skip("forge", "gpu", "no GPU (no nvidia-smi): models run on the CPU")
        return
    query = "--query-gpu=index,name,memory.used,memory.total,temperature.gpu"
    try:
        done = subprocess.run(
            [tool, query, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=20, check=False
        )
    except subprocess.TimeoutExpired:
        yield _check("forge", "gpu", "nvidia-smi does not answer", "", "the driver hangs: restart the machine")
        return
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        yield _check("forge", "gpu", said[0] if said else "nvidia-smi failed", "", "look at: nvidia-smi")
        return
    for line in done.stdout.strip().splitlines():
        index, name, used, total, celsius = (part.strip() for part in line.split(","))
        good = f"{name}: {used} of {total} MiB used, {celsius} degrees"
        is_full = used.isdigit() and total.isdigit() and int(used) > 0.95 * int(total)
        is_hot = celsius.isdigit() and int(celsius) >= HOT_CELSIUS
        words = f"{good}; nearly full" if is_full else f"{good}; hot" if is_hot else ""
        yield _check("forge", f"gpu_{index}", words, good, "end other jobs, check the fans", is_warning=True)


def _weaver(scope: Scope) -> Iterator[Check]:
    yield _daemon(scope.home)
    if scope.target is None and scope.run is None:
        yield _skip("weaver", "processes", "no run and no target named", "--run RUN, --target DIR")
    if scope.target is not None:
        from frontier_ops.target_lock import LOCK, lock_owner

        is_stale = (scope.target / LOCK).exists() and not lock_owner(scope.target)
        words = "the lock of a deploy that died lies there" if is_stale else ""
        yield _check("weaver", "deploy_lock", words, "no stale lock", "the next deploy takes it over", is_warning=True)
    for place in (scope.run, scope.target):
        if place is None or not place.is_dir():
            continue
        dead = [path.name for path in _temps(place) if not _lives(path)]
        words = f"{place}: {len(dead)} unfinished by processes that died, e.g. {dead[0]}" if dead else ""
        good = f"{place}: nothing left behind"
        remedy = "the next train or deploy removes them"
        yield _check("weaver", "leftovers", words, good, remedy, is_warning=True)


def _daemon(home: Path) -> Check:
    from frontier_ops.daemon.control import holder, read_state

    pid, said = holder(home), str(read_state(home).get("state", ""))
    if pid is None and not said:
        return _skip("weaver", "daemon", f"{home.resolve()}: no daemon ever ran here", "--home DIR")
    words = f"the daemon died; it last said {said!r}" if pid is None and said not in ("", "stopped") else ""
    good = f"the daemon lives (pid {pid})" if pid is not None else "the daemon was stopped"
    return _check("weaver", "daemon", words, good, "frontier daemon run goes on where it was", is_warning=True)


def _temps(place: Path) -> list[Path]:
    return [path for folder in (place, place / "releases") for path in folder.glob(".*.tmp")]


def _lives(temp: Path) -> bool:
    return any(part.isdecimal() and os.path.exists(f"/proc/{part}") for part in temp.name.split("."))


def _champion(scope: Scope) -> Iterator[Check]:
    from trainer.checkpoints import folders, looks_whole

    if scope.run is not None:
        found = folders(scope.run)
        words = f"{scope.run}: holds no checkpoint" if not found else ""
        if found and not looks_whole(found[0]):
            words = f"{found[0]}: is torn"
        yield _check(
            "champion", "checkpoint", words, f"{found[0].name if found else ''} looks whole",
            "frontier train again resumes from the newest whole one",
        )  # fmt: skip
    if scope.target is not None:
        from frontier_ops.releases import find_release

        try:
            release = find_release(scope.target)
            words, good = "", f"{release.model_id} is in service"
            no_probe = f"{release.model_id} has no golden probe" if release.probe is None else ""
            yield _check("champion", "probe", no_probe, "has a golden probe", "deploy it again", is_warning=True)
        except FrontierError as error:
            words, good = error.message, ""
        yield _check("champion", "release", words, good, "frontier deploy RUN --to TARGET")
    if scope.run is None and scope.target is None:
        yield _skip("champion", "model", "no run and no target named", "--run RUN, --target DIR")


def _oracle(scope: Scope) -> Iterator[Check]:
    from frontier_ops.ask import ask, wait_until_ready

    if not scope.url:
        yield _skip("oracle", "inference", "no server named", "--url http://127.0.0.1:8765")
        return
    try:
        wait_until_ready(scope.url, timeout_s=0)
        yield _check("oracle", "ready", "", f"{scope.url} is ready", "")
        said = ask(scope.url, QUESTION, timeout_s=WAIT_S, max_tokens=16, api_key=scope.api_key)
        yield _check("oracle", "answer", "", f"answers: {said[:60]!r}", "")
    except FrontierError as error:
        yield _check("oracle", "inference", error.message, "", error.hint or "frontier serve TARGET")


def _guild(scope: Scope) -> Iterator[Check]:
    yield from _skills()
    yield from _jobs(scope.home)


def _jobs(home: Path) -> Iterator[Check]:
    from frontier_ops.jobs.store import DATABASE, HISTORY, JobStore
    from frontier_ops.jobs.warnings import job_warnings

    if not any((home / name).is_file() for name in (DATABASE, HISTORY)):
        yield _skip("guild", "jobs", f"{home.resolve()}: no queue here", "--home DIR")
        return
    try:
        store = JobStore(home)
        try:
            found, counts = job_warnings(store), store.counts()
        finally:
            store.close()
    except FrontierError as error:
        yield _check("guild", "jobs", error.message, "", error.hint or "frontier jobs rebuild")
        return
    kinds = (
        ("orphaned_jobs", "were left by dead workers"),
        ("stuck_running", "run for long"),
        ("stuck_pending", "wait"),
    )
    words = [f"{len(found[key])} {what}, e.g. {found[key][0]['id']}" for key, what in kinds if found[key]]
    good = ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none"
    is_warning = not found["summary"]["critical"]
    remedy = "frontier jobs work takes them up; frontier jobs warnings lists them"
    yield _check("guild", "jobs", "; ".join(words), f"jobs: {good}", remedy, is_warning=is_warning)


def _skills() -> Iterator[Check]:
    from frontier_core.domains import load_domains
    from frontier_core.profiles import undress
    from frontier_core.records import last_assistant
    from generators import synth
    from validators.skills.table import VERIFIERS

    try:
        domains = load_domains(None)
        skills = sorted({domain.skill for domain in domains})
        records = list(synth.generate(synth.plan_requests(domains, len(domains)), seed=1))
        yield _check("guild", "skills", "", f"{len(skills)} skills make records ({len(records)} made)", "")
    except FrontierError as error:
        yield _check("guild", "skills", error.message, "", error.hint)
        return
    wrong = []
    for record in records:
        skill = record["metadata"]["skill"]
        if "output" in record:  # plans are the sandbox's business: frontier sandbox check
            continue
        verdict = VERIFIERS.get(skill)(record, undress(last_assistant(record)).strip())
        if not verdict.ok:
            wrong.append(f"{skill}: {verdict.message}")
    yield _check("guild", "verifiers", wrong[0] if wrong else "", "their answers verify", "report it: this is a bug")


def _scribe(scope: Scope) -> Iterator[Check]:
    from frontier_core.lineage import digest_of, read_sidecar

    if not scope.data:
        yield _skip("scribe", "data", "no data named", "--data FILE")
    for name in scope.data:
        path = Path(name)
        words = "" if path.exists() else f"{path}: no such file"
        is_warning = False
        if not words:
            try:
                meta = read_sidecar(path)
                is_warning = meta is None
                words = "" if meta else f"{path}: has no sidecar"
                if meta and meta["data"].get("sha256") != digest_of(path):
                    words = f"{path}: is not the data its sidecar describes"
            except FrontierError as error:
                words = error.message
        remedy = "make it again: frontier lineage show says how"
        yield _check("scribe", "sidecar", words, f"{path}: as its sidecar says", remedy, is_warning=is_warning)


def _deep(scope: Scope) -> Iterator[Check]:
    from frontier_ops.probe import probe_folder
    from frontier_ops.releases import find_release, verify
    from trainer.checkpoints import damage, folders, newest_committed

    if scope.run is None and scope.target is None:
        yield _skip("deep", "bytes", "no run and no target named", "--run RUN, --target DIR")
    folder: Path | None = None
    try:
        if scope.run is not None:
            torn = [path.name for path in folders(scope.run) if damage(path)]
            words = f"torn: {', '.join(torn)}" if torn else ""
            yield _check("deep", "checkpoints", words, "every byte is as it was saved", "frontier checkpoints prune")
            folder = newest_committed(scope.run)
        if scope.target is not None:
            report = verify(scope.target)
            words = report.problems[0] if report.problems else ""
            yield _check("deep", "release", words, "every byte is as it was shipped", "deploy it again")
            folder = find_release(scope.target).path
        if folder is not None:
            probe = probe_folder(folder)
            yield _check("deep", "model", "", f"{folder} loads and answers in {probe['dtype']}", "")
    except FrontierError as error:
        yield _check("deep", "model", error.message, "", error.hint or "take another checkpoint")


_GROUPS: dict[str, Callable[[Scope], Iterator[Check]]] = {
    "quick": _quick,
    "api": _api,
    "forge": _forge,
    "weaver": _weaver,
    "champion": _champion,
    "oracle": _oracle,
    "guild": _guild,
    "scribe": _scribe,
    "deep": _deep,
}
