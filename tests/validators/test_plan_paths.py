"""What a plan needs to be there, read off its text."""

# ruff: noqa: E501 (one case a line reads better than wrapped ones)
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.plan_paths import LONGEST_STEP, FileNeed, read_paths, words_of
from validators.plausible import LONG_AGO, world_of


@pytest.mark.parametrize(
    ("command", "files", "dirs"),
    [
        ("cat a.txt 'b c.txt' \"d\".txt", ["a.txt", "b c.txt", "d.txt"], []),
        ("head -n 3 a.log | tail -n1", ["a.log"], []),
        ("grep -e x -A 2 a.log b.log", ["a.log", "b.log"], []),
        ("grep -v x < in.txt 2>> err.txt", ["in.txt"], []),
        ("sed -n 2p a.txt", ["a.txt"], []),
        ("awk -F: -v n=3 '{print $n}' a.txt n=4 b.txt", ["a.txt", "b.txt"], []),
        ("cut -d, -f 2 data.csv > out/col.txt", ["data.csv"], ["out"]),
        ("cp a.txt b.txt dest/", ["a.txt", "b.txt"], ["dest"]),
        ("cp a.txt new/b.txt", ["a.txt"], ["new"]),
        ("mkdir new && cp a.txt new/", ["a.txt"], []),
        ("mv *.pdf Papers", ["*.pdf"], ["Papers"]),
        ("cp -r src copy", ["src/notes.txt"], ["src"]),
        ("tar -czf out.tgz data notes.md", ["data/notes.txt", "notes.md"], ["data"]),
        ("tar xzf in.tar.gz -C there", ["in.tar.gz"], ["there"]),
        ("cd src; cat main.py; cat ../top.txt", ["src/main.py", "top.txt"], ["src"]),
        ("(cd src && ls)", ["src/notes.txt"], ["src"]),
        ("cat ~/a.txt $HOME/b.txt /home/user/c.txt ./d.txt", ["a.txt", "b.txt", "c.txt", "d.txt"], []),
        ("D=docs; F=\"$D/a.md\"; wc -w \"$F\"", ["docs/a.md"], []),
        ("for f in *.log x.txt; do cat $f; done", ["*.log", "x.txt"], []),
        ("sort a.txt > b.txt; cat b.txt", ["a.txt"], []),
        ("if [ -f a.txt ] && [[ -d sub ]]; then ls; fi", ["a.txt", "notes.txt"], ["sub"]),
        ("wc -l $(find logs -name '*.log')", ["logs/*.log"], ["logs"]),
        ("diff <(sort a.txt) <(sort b.txt)", ["a.txt", "b.txt"], []),
        ("sudo -u bob timeout 5 cat a.txt", ["a.txt"], []),
        ("find data -type d -name 'old*'", [], ["data", "data/oldsample"]),
        ("find . -name '*.tmp' -exec rm {} \\;", ["*.tmp"], []),
        ("bash -c 'cat a.txt'", ["a.txt"], []),
        ("cat <<'E' > a.txt\ncat b.txt\nE\ncat c.txt", ["c.txt"], []),
        ("# cat a.txt\ncat b.txt # cat c.txt", ["b.txt"], []),
        ("touch a.txt; rm a.txt", [], []),
        ("echo 'cat a.txt'", [], []),
        ("cat /etc/passwd /var/log/syslog ../../x", [], []),
        ("cat $1 $(pwd)/x \"$UNKNOWN\" {a,b}.txt", [], []),
        ("cat - < /dev/null; scp host:x.txt .", [], []),
    ],
)  # fmt: skip
def test_paths_that_a_plan_reads(command: str, files: list[str], dirs: list[str]) -> None:
    needs = read_paths([command])
    assert (list(needs.files), sorted(needs.dirs)) == (files, dirs)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("grep -i 'connection refused' a.log", ["connection refused"]),
        ("grep -E 'ERROR|WARN' a.log", ["ERROR", "WARN"]),
        ("grep '^[0-9]*$' a.log", []),
        ("sed 's/localhost/0.0.0.0/g' a.log", ["localhost"]),
    ],
)
def test_what_is_looked_for_ought_to_be_there(command: str, words: list[str]) -> None:
    assert read_paths([command]).files["a.log"].words == words


def test_repository_is_needed_with_the_branches_gone_to() -> None:
    assert read_paths(["git status; git checkout dev; git merge topic"]).repos == {".": ["dev", "topic"]}
    assert read_paths(["cd app; git checkout -b new; git log"]).repos == {"app": []}
    assert read_paths(["git init -q r; cd r; git log"]).repos == {}
    assert read_paths(["git -C app add new.txt"]).repos == {"app": []}


def test_old_and_large_files_are_asked_for_where_find_wants_them() -> None:
    needs = read_paths(["find logs -name '*.log' -mtime +30 -size +1M"])
    assert needs.files == {"logs/*.log": FileNeed(is_old=True, size=2 << 20)}
    file = world_of(needs, {})["files"]["logs/first.log"]
    assert (file["mtime"], file["size"]) == (LONG_AGO, 2 << 20)


def test_steps_share_what_was_made_and_where_they_are() -> None:
    needs = read_paths(["mkdir out; cd out", "cat a.txt", "cat ../b.txt > c.txt", "cat c.txt"])
    assert (list(needs.files), needs.dirs) == (["b.txt"], set())


def test_path_that_is_a_folder_for_others_is_no_file() -> None:
    world = world_of(read_paths(["cat a/b.txt; cat a"]), {})
    assert list(world["files"]) == ["a/b.txt"]


def test_nothing_of_the_records_own_world_is_made_again() -> None:
    needs = read_paths(["cat a.txt *.log sub/b.txt; ls d"])
    own = {"files": {"a.txt": {}, "x.log": {}, "d": {}, "sub": {}}}
    assert world_of(needs, own) == {}


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.tar.gz", b"\x1f\x8b"), ("a.tar", b"data/first.txt"), ("a.zip", b"PK"), ("a.pdf", b"%PDF"), ("a.gz", b"\x1f\x8b"),
     ("a.tar.xz", b"\xfd7zXZ"), ("a.tbz2", b"BZh"), ("a.png", b"\x89PNG")],
)  # fmt: skip
def test_file_is_what_its_extension_says_and_the_same_every_time(name: str, start: bytes) -> None:
    import base64

    made = [world_of(read_paths([f"cat {name}"]), {})["files"][name] for _ in range(2)]
    assert made[0] == made[1]
    assert base64.b64decode(made[0]["base64"]).startswith(start)


def test_table_has_columns_and_json_can_be_read() -> None:
    import json

    files = world_of(read_paths(["cat a.csv b.json c.jsonl"]), {})["files"]
    assert files["a.csv"]["text"].splitlines()[0] == "id,name,item,amount"
    assert {len(line.split(",")) for line in files["a.csv"]["text"].splitlines()} == {4}
    assert json.loads(files["b.json"]["text"])["version"].startswith("1.0.")
    assert len([json.loads(line) for line in files["c.jsonl"]["text"].splitlines()]) == 8


@given(st.lists(st.text(alphabet="ab. /'\"\\$(){}[]*?<>|&;`~-\n=#!", max_size=60), max_size=3))
def test_any_text_is_read_without_an_error_and_stays_in_the_home_folder(commands: list[str]) -> None:
    needs = read_paths(commands)
    paths = [*needs.files, *needs.dirs, *needs.repos]
    assert not [path for path in paths if path.startswith("/") or ".." in path.split("/")]
    world_of(needs, {})


@pytest.mark.parametrize("piece", ["<<A ", "'", '"', "$(", "`", "((", "{", "x=", "\\"])
def test_long_text_is_read_in_time(piece: str) -> None:
    import time

    began = time.process_time()
    read_paths([piece * (LONGEST_STEP // len(piece)), piece * 300_000])
    assert time.process_time() - began < 2


def test_words_keep_their_quotes() -> None:
    assert list(words_of("a 'b c'; d>e")) == [["a", "'b c'"], ["d", ">", "e"]]
