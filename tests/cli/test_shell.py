"""The real thing: processes, pipes, signals, kill -9, a full disk. Exit codes as a shell sees them."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

FRONTIER = Path(sys.executable).parent / "frontier"
SKILLS = "--skill binary,math_mc,discrimination,sequence_predict"

pytestmark = pytest.mark.skipif(not FRONTIER.exists(), reason="frontier is not installed beside this python")


def bash(script, cwd, **kwargs):
    env = {**os.environ, "PATH": f"{FRONTIER.parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
    command = ["bash", "-c", script]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False, **kwargs)


def test_a_pipeline_carries_json_lines_alone_and_equal_seeds_give_equal_bytes(tmp_path):
    line = (
        f"frontier synth gen -n 60 --seed 7 {SKILLS} | tee gen.jsonl | frontier synth verify | tee ver.jsonl"
        " | frontier validate --level standard | tee val.jsonl | frontier synth format --to echo > {0}.jsonl"
        '; echo "${{PIPESTATUS[@]}}"'
    )
    codes = "0 0 0 0 0 0 0\n"
    assert bash(line.format("a"), tmp_path).stdout == codes
    for name in ("gen", "ver", "val", "a"):
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        assert len(lines) == 60
        assert all(isinstance(json.loads(line), dict) for line in lines)
    assert bash(line.format("b"), tmp_path).stdout == codes
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_head_ends_the_upstream_quietly_with_141(tmp_path):
    done = bash(f'frontier synth gen -n 4000 --seed 7 {SKILLS} | head -1 > one; echo "${{PIPESTATUS[@]}}"', tmp_path)
    assert (done.stdout, done.stderr) == ("141 0\n", "")
    assert json.loads((tmp_path / "one").read_text())["metadata"]["seed"] == 7


def test_replay_gives_the_same_bytes_from_any_later_stage(tmp_path):
    done = bash(
        f"frontier synth gen -n 40 --seed 3 {SKILLS} -o c.jsonl -q && frontier synth verify c.jsonl -q -o v.jsonl"
        " && frontier synth format v.jsonl --to chat -q -o f.jsonl"
        " && for file in c v f; do frontier synth replay $file.jsonl | cmp - c.jsonl || exit 9; done"
        " && frontier synth replay v.jsonl --line 17 | cmp - <(sed -n 17p c.jsonl)",
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_ends_a_stage_with_its_code_and_no_leftovers(tmp_path, number, code):
    (tmp_path / "feed").touch()
    os.mkfifo(tmp_path / "fifo")
    process = subprocess.Popen(
        [FRONTIER, "validate", "fifo", "-o", "out.jsonl", "--profile", "plain"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    with open(tmp_path / "fifo", "w") as fifo:
        fifo.write('{"messages":[{"role":"user","content":"a"}]}\n')
        fifo.flush()
        assert process.stderr.readline().startswith("fifo:1")  # it is at work now
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["feed", "fifo"]


def test_kill_9_leaves_the_old_file_and_the_next_run_replaces_it(tmp_path):
    (tmp_path / "out.jsonl").write_text("old\n")
    os.mkfifo(tmp_path / "fifo")
    command = [FRONTIER, "validate", "fifo", "-o", "out.jsonl", "--profile", "plain"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    with open(tmp_path / "fifo", "w") as fifo:
        fifo.write("[]\n")
        fifo.flush()
        process.stderr.readline()
        process.kill()
        process.communicate(timeout=30)
    assert (tmp_path / "out.jsonl").read_text() == "old\n"
    assert not (tmp_path / "out.jsonl.meta.json").exists()
    assert bash(f"frontier synth gen -n 3 {SKILLS} -o out.jsonl", tmp_path).returncode == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 3


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    def small_files_only():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = bash(f"frontier synth gen -n 2000 {SKILLS} -o out.jsonl", tmp_path, preexec_fn=small_files_only)
    assert done.returncode == 3
    assert done.stderr.startswith("error: out.jsonl: ")
    assert list(tmp_path.iterdir()) == []
    assert bash(f"frontier synth gen -n 2000 {SKILLS} -o /dev/full", tmp_path).returncode == 3


@pytest.mark.parametrize(
    "command",
    ["frontier synth gen -n 2000 --skill binary,math_mc", "frontier -h", "frontier validate in.jsonl --json"],
)
def test_a_full_standard_output_exits_3_without_a_traceback(tmp_path, command):
    (tmp_path / "in.jsonl").write_text('{"text":"a","metadata":{"skill":"x"}}\n')
    done = bash(f"{command} > /dev/full", tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)
    assert "error: standard output: No space left on device" in done.stderr


def test_a_closed_standard_output_is_a_usage_error(tmp_path):
    done = bash(f"frontier synth gen -n 3 {SKILLS} >&-", tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: standard input or output is closed\n")


def test_another_stages_rejects_are_left_alone(tmp_path):
    (tmp_path / "mine.rejects.jsonl").write_text("keep\n")
    assert bash(f"frontier synth gen -n 3 {SKILLS} -o mine.jsonl", tmp_path).returncode == 0
    assert (tmp_path / "mine.rejects.jsonl").read_text() == "keep\n"


def test_a_print_inside_a_library_goes_to_stderr(tmp_path):
    (tmp_path / "noisy.py").write_text(
        "from generators.table import GENERATORS\n"
        "class Noisy:\n"
        "    def __init__(self): self.inner = GENERATORS.get('binary'); self.__dict__.update(vars(self.inner))\n"
        "    def __getattr__(self, name): return getattr(self.inner, name)\n"
        "    def sample(self, *args): print('hello from a library'); return self.inner.sample(*args)\n"
        "import sys\n"
        "from frontier_cli.main import main\n"
        "noisy = Noisy()\n"
        "GENERATORS._loaded['binary'] = noisy\n"
        "sys.exit(main(['synth', 'gen', '-n', '3', '--skill', 'binary', '--level', '1']))\n"
    )
    done = bash(f"{sys.executable} noisy.py", tmp_path)
    assert done.returncode == 0
    assert [line[:1] for line in done.stdout.splitlines()] == ["{", "{", "{"]
    assert "hello from a library" in done.stderr


def test_lineage_in_a_pipe_is_summed_up_by_the_next_file(tmp_path):
    bash("frontier synth gen -n 10 --skill binary | frontier synth verify | frontier validate -o v.jsonl", tmp_path)
    meta = json.loads((tmp_path / "v.jsonl.meta.json").read_text())
    assert meta["lineage"] == {
        "gen:binary@2.0.0": 10,
        "verify:execution_gate@2.0.0/recomputed": 10,
        "validate:data_validator@1.2.0/standard": 10,
    }
