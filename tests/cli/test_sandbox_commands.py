"""`frontier sandbox check` and `frontier sandbox build`: what they say, to people and to programs."""

import json

import pytest

from frontier_core.errors import EnvironmentMissing
from frontier_ops import sandboxes
from validators.sandbox.image import Built
from validators.sandbox.probes import CONDUCTS, ESCAPES


@pytest.fixture(scope="module")
def native():
    """Skips where user namespaces are forbidden."""
    from validators.sandbox.backend import open_sandbox

    try:
        open_sandbox("native-ns").close()
    except EnvironmentMissing as error:
        pytest.skip(error.message)


@pytest.mark.usefixtures("native")
def test_check_says_each_probe_in_words(run):
    done = run("sandbox check --sandbox native-ns")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "native-ns:"
    assert "  can a plan read the host's /root? no" in lines
    assert "  which capabilities does a plan have? none" in lines
    assert "  can a plan outlive its time limit by ignoring signals? no: killed at the limit" in lines
    assert lines[-1] == "native-ns works"
    assert len(lines) == len(ESCAPES) + 1 + len(CONDUCTS) + 2


@pytest.mark.usefixtures("native")
def test_check_gives_json_for_each_sandbox(run):
    done = run("sandbox check --sandbox native-ns --json")
    (line,) = map(json.loads, done.out.splitlines())
    assert (done.code, line["sandbox"], line["works"], line["problem"]) == (0, "native-ns", True, "")
    assert {probe["name"]: probe["is_right"] for probe in line["probes"]}["fork_bomb"] is True
    assert line["about"]["backend"] == "native-ns"


def test_check_of_what_does_not_work_exits_3_with_what_to_do(run, monkeypatch):
    def refuse(*_):
        raise EnvironmentMissing("no Docker engine answers", hint="start the engine")

    monkeypatch.setattr(sandboxes, "make_sandbox", refuse)
    done = run("sandbox check")
    assert done.code == 3
    assert done.out.splitlines()[:2] == [
        "docker-ns does not work here: no Docker engine answers", "  hint: start the engine",
    ]  # fmt: skip
    assert [json.loads(line)["works"] for line in run("sandbox check --json").out.splitlines()] == [False] * 3


def test_check_shows_the_probe_that_failed(run, monkeypatch):
    class Leaky:
        name = "leaky"

        def run(self, job):
            from validators.sandbox.contract import Outcome

            text = "\n".join(f"{escape.name}={escape.answer}" for escape in ESCAPES).replace("mount=no", "mount=yes")
            return Outcome(status="ok", backend="leaky", stdout={"text": text}, processes_left=1)

        def describe(self):
            return {"backend": "leaky"}

        def close(self):
            pass

    monkeypatch.setattr(sandboxes, "make_sandbox", lambda *_: Leaky())
    done = run("sandbox check --sandbox native-ns")
    assert done.code == 3
    assert "  WRONG: can a plan mount a file system? yes" in done.out
    assert "native-ns does not work here: failed its self-test: mount\n  hint: allow user namespaces" in done.out
    assert CONDUCTS[0].question not in done.out


def test_unknown_sandbox_and_lone_mirror_are_usage_errors(run):
    assert run("sandbox check --sandbox docker").code == 2
    done = run("sandbox build --mirror http://x")
    assert (done.code, done.error) == (2, "error: --mirror is for --debootstrap")


BUILT = Built(
    tag="frontier-sandbox:0123", digest="0123abcd", size_bytes=3 << 20, num_tools=2,
    missing={"jq": "jq", "nc": "netcat-openbsd"},
)  # fmt: skip


def test_build_says_tag_digest_size_and_what_is_missing(run, monkeypatch):
    asked = {}
    monkeypatch.setattr(sandboxes, "build_sandbox", lambda **options: asked.update(options) or BUILT)
    done = run("sandbox build --debootstrap auto --tools a,b --tools c -o x.tar")
    assert done.out == (
        "frontier-sandbox:0123 in x.tar  3 MiB, 2 tools\ndigest sha256:0123abcd\n"
        "missing: jq  (apt-get install jq)\nmissing: nc  (apt-get install netcat-openbsd)\n"
    )
    assert (asked["suite"], asked["extra"], asked["output"]) == ("", ["a", "b", "c"], "x.tar")
    assert json.loads(run("sandbox build --json").out)["digest"] == "0123abcd"
    assert asked["suite"] is None


@pytest.mark.usefixtures("native")
def test_what_a_plan_says_does_nothing_to_the_terminal(run):
    plan = {
        "instruction": "x",
        "output": [{"command": "true"}],
        "expect": {"checks": [{"command": "printf '\\033]0;mine\\a\\033[2J' >&2; exit 2"}]},
        "metadata": {"skill": "shell"},
    }
    done = run("synth verify --sandbox native-ns --rejects /dev/null", stdin=json.dumps(plan))
    assert done.code == 1
    assert "\\x1b]0;mine\\x07\\x1b[2J [check_failed]" in done.err
    assert "\x1b" not in done.err
