"""Spoiled plans: they differ from the right one in one place, carry their kind, and the execution gate refuses them."""

from __future__ import annotations

import copy
import subprocess
from importlib import import_module
from random import Random

from generators.procedural.shell.mutations import KINDS, candidates, mutate
from validators.execution_gate import judge_plan
from validators.schema_gate import SchemaGate

DOMAINS = ("file_system", "text_processing", "archives", "git", "system_info", "network", "processes", "scheduling")


def samples(num_per_level: int):
    for domain in DOMAINS:
        generator = import_module(f"generators.procedural.shell.{domain}").GENERATOR
        for level in generator.levels:
            for index in range(num_per_level):
                yield generator.sample(23, index, level)


def record_of(*commands: str, fixture=None, expect=None):
    return {
        "instruction": "do it",
        "output": [{"command": command} for command in commands],
        "fixture": fixture or {},
        "expect": expect or {},
        "metadata": {"skill": "shell_file_system"},
    }


def plans(kind: str, *commands: str, **world):
    return candidates(record_of(*commands, **world)).get(kind, [])


def test_flags_that_matter_are_dropped():
    assert plans("dropped_flag", "cp -r a b") == [["cp a b"]]
    assert plans("dropped_flag", "sed -i 's/x/y/g' f") == [["sed 's/x/y/g' f"], ["sed -i 's/x/y/' f"]]
    assert plans("dropped_flag", "git -C r reset -q --soft HEAD~2") == [["git -C r reset -q --hard HEAD~2"]]


def test_flag_stays_where_the_fixture_gives_it_no_meaning():
    command = "find a -type f -name '*.log' -delete"
    assert plans("dropped_flag", command, fixture={"files": {"a/x.log": {"text": ""}}}) == []
    folder = {"files": {"a/x.log/y": {"text": ""}}}
    assert plans("dropped_flag", command, fixture=folder) == [["find a -name '*.log' -delete"]]


def test_numbers_are_off_by_one_on_the_side_that_matters():
    assert plans("off_by_one", "awk 'NR > 1' f") == [["awk 'NR > 2' f"]]
    assert plans("off_by_one", "chmod 640 f") == [["chmod 641 f"]]
    assert plans("off_by_one", "find a ! -newermt 2024-03-09 -delete") == [["find a ! -newermt 2024-03-10 -delete"]]


def test_bounds_are_moved_both_ways_but_not_below_one():
    near = [f"awk '$3 >= {bound}' f" for bound in (10, 19, 21, 30, 40)]
    assert plans("wrong_bound", "awk '$3 >= 20' f") == [[command] for command in near]
    assert plans("wrong_bound", "awk 'NR > 1 && $4 + 0 > 5 {print $5}' f")[0] == [
        "awk 'NR > 1 && $4 + 0 > 4 {print $5}' f"
    ]
    assert plans("wrong_bound", "awk '$2 >= 4.25' f") == []


def test_arguments_are_swapped():
    assert plans("swapped_arguments", "mv a/x.txt b/") == [["mv b/ a/x.txt"]]
    assert plans("swapped_arguments", "echo '5 7 * * * bin/x.sh' >> t") == [["echo '7 5 * * * bin/x.sh' >> t"]]
    assert plans("swapped_arguments", "echo '5 5 * * * bin/x.sh' >> t") == []


def test_last_step_is_left_out_only_when_another_stays():
    assert plans("missing_last_step", "mkdir a", "touch a/b") == [["mkdir a"]]
    assert plans("missing_last_step", "mkdir a") == []


def test_other_folders_and_file_names_come_from_the_two_worlds():
    world = {"fixture": {"files": {"a/x.txt": {"text": ""}, "b/x.txt": {"text": ""}}}}
    assert plans("wrong_directory", "rm a/x.txt", **world) == [["rm b/x.txt"], ["rm a_new/x.txt"]]
    assert plans("wrong_name", "rm a/x.txt", **world) == [["rm a/x_1.txt"]]


def test_modes_are_changed_where_none_is_asked_for():
    files = {"a": {"text": ""}, "b c": {"dir": True}, "d": {"absent": True}, "e": {"mode": "600"}}
    assert plans("wrong_mode", "x", expect={"files": files}) == [
        ["x", "chmod 777 ~/a"],
        ["x", "chmod 600 ~/a"],
        ["x", "chmod 777 ~/'b c'"],
    ]


def test_every_mode_that_nobody_asked_for_is_refused(sandbox):
    codes = set()
    for record in samples(2):
        for commands in candidates(record).get("wrong_mode", [])[:2]:
            spoiled = {**record, "output": [{"command": command} for command in commands]}
            verdict = judge_plan(spoiled, sandbox)
            assert not verdict.ok, (record["metadata"]["scenario"], commands)
            codes.add(verdict.code)
    assert codes == {"wrong_mode"}


def test_broken_command_hides_its_failure():
    assert plans("swallowed_failure", "mv a b") == [["mv --no-such-option a b || true"]]
    assert plans("swallowed_failure", "for f in a; do rm $f; done") == [
        ["cd workspace && { for f in a; do rm $f; done; } || true"]
    ]


def test_mutation_changes_only_the_plan_and_names_its_kind():
    gate = SchemaGate("plan_v1")
    kinds = set()
    for number, record in enumerate(samples(10)):
        untouched = copy.deepcopy(record)
        spoiled = mutate(record, Random(number))
        assert record == untouched
        assert spoiled["output"] != record["output"]
        assert spoiled["metadata"]["mutation"] in KINDS
        assert gate.check(spoiled)[1] == ()
        for key in ("instruction", "fixture", "expect"):
            assert spoiled[key] == record[key]
        assert mutate(record, Random(number)) == spoiled
        kinds.add(spoiled["metadata"]["mutation"])
    assert kinds == set(KINDS)


def test_every_spoiled_plan_is_still_valid_bash():
    scripts = [
        "\n".join(commands) for record in samples(4) for wrong in candidates(record).values() for commands in wrong
    ]
    script = "\n".join(f"f{number}() {{\n{text}\n}}" for number, text in enumerate(scripts))
    run = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_twenty_wrong_plans_of_all_domains_are_refused_for_their_end_state(sandbox):
    codes = []
    for number, record in enumerate(list(samples(1))[:20]):
        # Failures swallowed in plain sight are refused by reading; here the end state alone must decide.
        found = {kind: wrong for kind, wrong in candidates(record).items() if kind != "swallowed_failure"}
        kind = Random(number).choice(sorted(found))
        spoiled = {**record, "output": [{"command": command} for command in Random(number).choice(found[kind])]}
        verdict = judge_plan(spoiled, sandbox)
        assert not verdict.ok, (kind, record["output"], spoiled["output"])
        codes.append(verdict.code)
    assert "sandbox_error" not in codes
    assert set(codes) >= {"nonzero", "wrong_file"}


SCENARIOS_WITH_BOUNDS = {
    "move_large_files", "filter_and_rank", "full_disks", "regular_users", "busy_processes", "failing_clients",
}  # fmt: skip


def test_a_bound_that_is_off_by_one_ten_or_twenty_is_refused(sandbox):
    left = set(SCENARIOS_WITH_BOUNDS)
    for record in samples(12):
        scenario = record["metadata"]["scenario"]
        if scenario in left:
            left.discard(scenario)
            for commands in candidates(record)["wrong_bound"]:
                spoiled = {**record, "output": [{"command": command} for command in commands]}
                assert not judge_plan(spoiled, sandbox).ok, (record["output"], commands)
    assert left == set()


def test_swallowed_failure_is_refused_by_its_text(sandbox):
    record = next(samples(1))
    wrong = candidates(record)["swallowed_failure"][0]
    verdict = judge_plan({**record, "output": [{"command": command} for command in wrong]}, sandbox)
    assert verdict.code == "swallows_errors"
