"""`frontier import` takes files of several forms at once, says what it took them for, and loses no row silently."""

import json

import pytest

SHAREGPT = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "<think>x</think>Hello"}]}
ALPACA = {"instruction": "Add 2 and 2.", "output": "4"}
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_files_of_several_forms_become_one_file_that_validates(run, tmp_path):
    write(tmp_path / "a.jsonl", SHAREGPT, {"strange": 1}, SHAREGPT | {"system": "Be kind."})
    write(tmp_path / "b.jsonl", ALPACA)
    done = run("import a.jsonl b.jsonl --skill talk --license mit --profile emoji_think --json -o out.jsonl")
    assert done.code == 1
    assert "a.jsonl: took 2 of 3 rows (2 sharegpt), <think> taken out of 2 answers" in done.err
    assert "a.jsonl:2: no known form has the keys strange [unknown_form]" in done.err
    assert "imported 3 of 4, rejected 1 (1 unknown_form); rejects in out.rejects.jsonl" in done.err
    report = json.loads(done.out)
    assert [(file["num_in"], file["num_out"], file["forms"]) for file in report["files"]] == [
        (3, 2, {"sharegpt": 2}),
        (1, 1, {"alpaca": 1}),
    ]
    first, _, third = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert first["messages"][1]["content"] == "🤔🤔🤔🤔\nHello"
    assert third["metadata"] == {
        "skill": "talk", "source_license": "mit", "source": "b.jsonl", "lineage": ["import@1.0.0"],
    }  # fmt: skip
    meta = json.loads((tmp_path / "out.jsonl.meta.json").read_text())
    assert (meta["stage"], meta["rejects"], len(meta["inputs"])) == ("import", {"unknown_form": 1}, 2)
    assert run("validate out.jsonl --level quick -o valid.jsonl").code == 0


def test_a_file_that_can_not_be_read_costs_only_itself(run, tmp_path):
    (tmp_path / "lfs.jsonl").write_text(LFS)
    write(tmp_path / "b.jsonl", ALPACA)
    done = run("import lfs.jsonl b.jsonl -o out.jsonl")
    assert done.code == 1
    assert "imported 1 of 2, rejected 1 (1 lfs_pointer)" in done.err
    (reject,) = map(json.loads, (tmp_path / "out.rejects.jsonl").read_text().splitlines())
    assert (reject["path"], reject["line"], reject["code"]) == ("lfs.jsonl", 0, "lfs_pointer")


def test_nothing_readable_is_an_error(run, tmp_path):
    (tmp_path / "lfs.jsonl").write_text(LFS)
    done = run("import lfs.jsonl -o out.jsonl")
    assert (done.code, done.error) == (4, "error: lfs.jsonl: is a Git LFS pointer, not the data")
    assert not (tmp_path / "out.jsonl").exists()


def test_other_splits_are_left_and_named(run, tmp_path):
    for split in ("train", "test"):
        (tmp_path / "set" / split).mkdir(parents=True)
        write(tmp_path / "set" / split / "rows.jsonl", ALPACA)
    done = run("import set -o out.jsonl")
    assert (done.code, "set: takes the split train, leaves test" in done.err) == (0, True)
    assert run("import set --split test -o out.jsonl").code == 0
    assert json.loads((tmp_path / "out.jsonl").read_text())["metadata"]["split"] == "test"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--think hide", "--think: 'hide' is neither strip nor keep"),
        ("--think keep --profile regime3", "--think keep: a dressed answer holds no <think> block"),
        ("--from sharegtp", "unknown form 'sharegtp'"),
        ("--json", "--json: standard output carries the records"),
        ("-o a.jsonl", "a.jsonl: is used twice"),
    ],
)
def test_options_that_can_not_be_meant_are_refused(run, tmp_path, options, says):
    write(tmp_path / "a.jsonl", ALPACA)
    done = run(f"import a.jsonl {options}")
    assert (done.code, done.error) == (2, f"error: {says}")
