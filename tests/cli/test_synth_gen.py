"""The options of `synth gen` that say who draws, how much of a run, and what is checked."""

import json

import pytest

RUN = "synth gen -n 30 --seed 4 --skill binary,syllo"


def test_workers_and_shards_give_the_bytes_of_the_plain_run(run):
    plain = run(RUN)
    assert plain.code == 0
    assert len(plain.out.splitlines()) == 30
    assert run(f"{RUN} --workers 2").out == plain.out
    assert "".join(run(f"{RUN} --shard {number}/4").out for number in (1, 2, 3, 4)) == plain.out


def test_the_sidecar_of_a_shard_says_which_one_it_is(run, tmp_path):
    assert run(f"{RUN} --shard 2/4 -o two.jsonl").code == 0
    meta = json.loads((tmp_path / "two.jsonl.meta.json").read_text())
    digest = meta["params"].pop("plan")
    assert (len(digest), meta["params"]) == (16, {"split": "train", "policy": "", "shard": "2/4"})
    assert meta["data"]["num_records"] == 8
    assert sum(meta["counts"].values()) == 8
    assert set(meta["lineage"]) == {"gen:binary@2.0.0", "gen:syllo@2.0.0"}


@pytest.mark.parametrize("shard", ["0/4", "5/4", "2", "a/b", "-1/4", "1/0"])
def test_a_shard_that_is_none_is_a_usage_error(run, shard):
    done = run(f"{RUN} --shard={shard}")
    assert done.code == 2
    assert done.error == f"error: --shard: {shard!r} is not I/N with I from 1 to N"


def test_what_to_check_is_all_some_or_none(run):
    assert run(f"{RUN} --check all").out == run(f"{RUN} --check none").out
    done = run(f"{RUN} --check most")
    assert (done.code, done.error) == (2, "error: --check: 'most' is none of all, some, none")


def test_more_than_a_level_has_is_refused_before_anything_is_written(run, tmp_path):
    done = run("synth gen -n 5000 --skill binary --level 1 -o much.jsonl --workers 2")
    assert done.code == 2
    assert "distinct problems in split train, 5000 are asked for" in done.error
    assert list(tmp_path.iterdir()) == []


def test_a_registered_skill_needs_no_line_in_the_domains_file(run):
    pytest.importorskip("reasoning_gym")
    done = run("synth gen -n 22 --skill rg_gcd,binary --dry-run")
    assert done.code == 0
    assert "rg_gcd level 4" in done.out
    assert "binary level" in done.out


def test_a_hundred_thousand_workers_are_a_few_and_that_is_said(monkeypatch):
    import os

    from frontier_cli.commands.synth_gen import _sensible

    notes = []
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr("frontier_cli.console.note", notes.append)
    assert [_sensible(2), _sensible(100_000)] == [2, 12]
    assert notes == ["--workers 100000: more than 12 don't help on this machine; using 12"]
