"""Which world a plan gets, and that the sandbox makes it."""

# ruff: noqa: E501 (one case a line reads better than wrapped ones)
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.domains import Domain, load_domains
from frontier_core.errors import ConfigError, EnvironmentMissing
from frontier_core.resources import shipped
from validators.execution_gate import as_judged, judge_plan, judge_stream
from validators.fixtures import BadPack, Fixtures, merge
from validators.sandbox.backend import open_sandbox
from validators.sandbox.contract import Sandbox
from validators.schema_gate import SchemaGate

PACKS = {"git": {"repos": {".": {"commits": [{"message": "m", "files": {"a": "1\n"}}]}}}, "text": {"files": {"a": {}}}}


@pytest.fixture(scope="module")
def native() -> Iterator[Sandbox]:
    try:
        opened = open_sandbox("native-ns")
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    yield opened
    opened.close()


def plan(*commands: str, domain: str = "", **keys: Any) -> dict[str, Any]:
    metadata = {"skill": "s"} | ({"domain": domain} if domain else {})
    return {"instruction": "i", "output": [{"command": c} for c in commands], "metadata": metadata} | keys


def test_own_fixture_is_the_whole_world() -> None:
    for record in (plan("cat a", domain="git", fixture={}), plan("cat a", domain="git", fixture={"files": {"b": {}}})):
        assert Fixtures(packs=PACKS, is_auto=True).prepare(record) is record


def test_record_without_a_fixture_gets_the_pack_of_its_domain() -> None:
    made = Fixtures(packs=PACKS).prepare(plan("git log", domain="Git"))
    assert made["fixture"] == PACKS["git"] | {"pack": "git"}
    assert made["metadata"] == {"skill": "s", "domain": "Git", "fixture": "pack:git"}
    without = plan("ls", domain="music")
    assert Fixtures(packs=PACKS).prepare(without) is without


def test_named_pack_fills_in_what_the_record_leaves_open() -> None:
    own = {"pack": "text", "files": {"b": {"text": "mine"}}, "env": {"A": "1"}}
    made = Fixtures(packs=PACKS).prepare(plan("ls", fixture=own))
    assert made["fixture"] == {"pack": "text", "files": {"a": {}, "b": {"text": "mine"}}, "env": {"A": "1"}}


def test_unknown_pack_is_named_with_the_nearest() -> None:
    with pytest.raises(BadPack) as caught:
        Fixtures(packs=PACKS).prepare(plan("ls", fixture={"pack": "gitt"}))
    assert "git" in caught.value.hint


def test_unknown_pack_is_no_rejection(native: Sandbox) -> None:
    verdict = judge_plan(plan("ls", fixture={"pack": "nope"}), native)
    assert (verdict.code, verdict.details["failure"]) == ("sandbox_error", "bad_fixture")
    assert verdict.findings[0].pointer == "/fixture/pack"


def test_derived_world_is_marked_and_the_same_every_time() -> None:
    record = plan("grep -c needle logs/app.log")
    made = Fixtures(is_auto=True).prepare(record)
    assert made == Fixtures(is_auto=True).prepare(record)
    assert made["fixture"]["auto"] is True
    assert "needle" in made["fixture"]["files"]["logs/app.log"]["text"]
    assert made["metadata"]["fixture"] == "auto"
    assert "fixture" not in record


def test_record_may_ask_for_a_derived_world_itself() -> None:
    made = Fixtures().prepare(plan("cat a b", fixture={"auto": True, "files": {"a": {"text": "mine"}}}))
    assert sorted(made["fixture"]["files"]) == ["a", "b"]
    assert made["fixture"]["files"]["a"] == {"text": "mine"}


def test_preparing_twice_changes_nothing() -> None:
    fixtures = Fixtures(packs=PACKS, is_auto=True)
    for record in (plan("cat a.txt", domain="git"), plan("tar -xf x.tgz -C out"), plan("ls", fixture={"pack": "text"})):
        once = fixtures.prepare(record)
        assert fixtures.prepare(once) == once


names = st.sampled_from(["a", "b", "a/c", "d"])
trees = st.fixed_dictionaries({}, optional={
    "files": st.dictionaries(names, st.just({"text": "t"})), "dirs": st.dictionaries(names, st.just({})),
    "env": st.dictionaries(names, st.just("v")), "setup": st.sampled_from(["x", "y"]),
})  # fmt: skip


@given(trees, trees)
def test_merging_keeps_everything_of_the_record_and_no_path_twice(own: dict[str, Any], below: dict[str, Any]) -> None:
    made = merge(own, below)
    for key, value in own.items():
        assert made[key] == value if not isinstance(value, dict) else value.items() <= made[key].items()
    added = [path for key in ("files", "dirs") for path in set(made.get(key, {})) - set(own.get(key, {}))]
    assert not set(added) & {path for key in ("files", "dirs") for path in own.get(key, {})}
    assert merge(made, below) == made


def test_packs_that_ship_are_fixtures_and_can_be_made(native: Sandbox) -> None:
    fixtures = Fixtures.of_domains(load_domains(shipped("domains.yaml")))
    fixtures.check()
    assert {"file_system", "git"} <= fixtures.packs.keys()
    for name in fixtures.packs:
        verdict = judge_plan(plan("ls -A", domain=name), native, fixtures=fixtures)
        assert verdict.ok, (name, verdict.findings)
        assert verdict.details["fixture"] == f"pack:{name}"


def test_pack_that_is_no_fixture_is_a_config_error_naming_domain_and_place() -> None:
    domain = Domain(name="git", skill="shell_git", levels=(1,), fixture={"file": {}})
    with pytest.raises(ConfigError, match=r"'git'.*/fixture"):
        Fixtures.of_domains([domain]).check()


def test_record_leaves_the_stream_as_it_was_judged(native: Sandbox) -> None:
    del native
    raw = {"intent": "show the log", "plan": "cat app.log"}
    fixtures = Fixtures(is_auto=True)
    [(record, verdict)] = judge_stream([raw], sandbox_factory=lambda: open_sandbox("native-ns"), fixtures=fixtures)
    assert verdict.ok, verdict.findings
    assert verdict.details["fixture"] == "auto"
    assert record == as_judged(raw, fixtures)
    assert list(record["fixture"]["files"]) == ["app.log"]
    assert SchemaGate().check(record)[1] == ()


DERIVED = (
    "cat notes.txt", "grep -n ERROR app.log", "grep -rn TODO src", "sed -i 's/old/new/' config.ini", "sort -u names.txt",
    "tar -xzf backup.tar.gz", "tar -tf data.tar && mkdir out && tar -xf data.tar -C out", "unzip -l docs.zip",
    "zcat app.log.gz | head -2", "wc -l *.csv", "for f in *.txt; do cp \"$f\" \"$f.bak\"; done", "mv *.jpg photos/",
    "cp -r project backup", "find logs -name '*.log' -mtime +7 -delete", "find . -size +1M -type f",
    "cd src && ls", "awk -F, '{print $2}' data.csv", "jq .name package.json", "gzip big.log", "chmod 600 secret.key",
    "sort < input.txt > out/sorted.txt", "git log --oneline", "git checkout feature", "git add new.txt && git commit -qm x",
    "diff old.txt new.txt; test $? -le 1", "D=~/Documents; mkdir -p $D/Papers && mv $D/*.pdf $D/Papers", "[ -f a.txt ] && cat a.txt",
    "ls -la", "du -sh photos", "xargs -n1 echo < list.txt", "sha256sum file.iso > file.iso.sha256",
)  # fmt: skip


@pytest.mark.parametrize("command", DERIVED)
def test_usual_plan_runs_in_the_world_derived_from_it(native: Sandbox, command: str) -> None:
    if native.run({"commands": [f"command -v {command.split()[0]}"]}).status != "ok":
        pytest.skip(f"this machine lacks {command.split()[0]}")
    assert judge_plan(plan(command), native).code not in ("ok", "sandbox_error") or command in (
        "ls -la",
        "find . -size +1M -type f",
    )
    verdict = judge_plan(plan(command), native, fixtures=Fixtures(is_auto=True))
    assert verdict.ok, (verdict.findings, verdict.details)


def test_repository_is_made_as_described_and_the_same_everywhere(native: Sandbox) -> None:
    repo = {
        "branch": "trunk",
        "commits": [
            {"message": "one", "files": {"a": "1\n", "run.sh": {"text": "#!/bin/sh\n", "mode": "755"}, "it's": "q\n"}},
            {"message": "two\n\nbody", "files": {"a": None, "d/b": {"base64": "/w=="}}, "date": "2024-02-03T04:05:06Z",
             "author": "Ann <ann@x>"},
        ],
        "branches": {"side": [{"message": "three", "files": {"c": "3\n"}}], "same": []},
        "tags": {"v1": 1},
        "uncommitted": {"d/b": "changed\n", "new": "n\n"},
    }  # fmt: skip
    script = (
        "cd 'my repo'; git log --all --format='%h %D|%an <%ae>|%aI|%s' --date-order; git status --short; git ls-files -s; "
        "git show v1:a; git fsck --strict"
    )
    outcome = native.run({"commands": [script], "fixture": {"repos": {"my repo": repo}}})
    assert outcome.stdout["text"].splitlines() == [
        "f68d5d3 side|user <user@sandbox>|2023-12-01T00:03:00+00:00|three",
        "b26d9b2 HEAD -> trunk, same|Ann <ann@x>|2024-02-03T04:05:06+00:00|two",
        "6237d5d tag: v1|user <user@sandbox>|2023-12-01T00:01:00+00:00|one",
        " M d/b",
        "?? new",
        "100644 ce542efaa5124a0437f0c4db329d7ec4b7ba70a7 0\td/b",
        "100644 bca70f35318f31dd1d1d1d2d2e64c19b880899ff 0\tit's",
        "100755 1a2485251c33a70432394c93fb89330ef214bfc9 0\trun.sh",
        "1",
    ]
    assert outcome.changes == ()


def test_repository_that_can_not_be_made_is_a_bad_fixture(native: Sandbox) -> None:
    repo = {"commits": [{"message": "m", "files": {"a/../../x": "1\n"}}]}
    outcome = native.run({"commands": ["true"], "fixture": {"repos": {"r": repo}}})
    assert (outcome.status, outcome.failure) == ("sandbox_error", "bad_fixture")
    assert outcome.reason.startswith("repository r ended with ")
