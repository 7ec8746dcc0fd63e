"""What the text of a plan gives away, and what it must not be taken for."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.plan_lint import handles_failures, lint


def codes(*commands: str) -> list[str]:
    return [finding.code for finding in lint(list(commands))]


@pytest.mark.parametrize(
    "command",
    [
        "rm missing || true",
        "rm missing ||true; ls",
        "rm missing || :",
        "(rm missing || exit 0)",
        "cp a b; true",
        "cp a b\ntrue\n",
        "cp a b; exit 0",
        "set +e; cp a b",
        "set +o errexit\ncp a b",
        "cp a b | true",
        "cp a b |& :; ls",
        "bash -c 'cp a b || true'",
        "ls | xargs sh -c 'rm $0 || :'",
    ],
)
def test_plan_that_can_not_fail_is_refused(command: str) -> None:
    assert codes(command) == ["swallows_errors"]


@pytest.mark.parametrize(
    "command", ["trap 'exit 0' ERR; cp a b", 'trap "exit 0" EXIT\ncp a b', "trap 'exit 0' 0; ls x"]
)
def test_trap_that_turns_every_end_into_success_is_refused(command: str) -> None:
    assert codes(command) == ["trap_exit"]


@pytest.mark.parametrize(
    "command",
    [
        "grep -q x f || echo none > out",
        "case $x in yes|true) ls;; esac",
        "echo 'a || true' > f",
        'printf "set +e\\n" > notes.txt',
        "cat > f <<'E'\nrm x || true\nE",
        "ls # || true",
        "if true; then ls; fi",
        "while true; do break; done; ls",
        "trap 'rm -f tmp' EXIT; touch tmp",
        "test -e truefile || truefile",
        "echo $((3+4))",
        "echo $HOSTNAME",
        'echo "$(wc -l < f)"',
        "echo hello > f",
        "printf 'a\\n' | sort",
        "echo done; touch f",
    ],
)
def test_honest_plan_passes(command: str) -> None:
    assert codes(command) == []


def test_hidden_error_messages_are_only_a_warning() -> None:
    [finding] = lint(["rm x 2>/dev/null"])
    assert (finding.code, finding.severity, finding.pointer) == ("hides_errors", "warning", "/output/0/command")


@pytest.mark.parametrize(
    "commands",
    [
        ["x=$(rm nofile 2>&1); ls"],
        ['x="$(rm nofile 2>&1)"; ls'],
        ["x=`rm nofile 2>&1`; ls"],
        ["rm nofile 2>&-; ls"],
        ["rm nofile 2>&1 | cat >/dev/null; ls"],
        ["rm nofile |& cat > /dev/null; ls"],
        ["rm nofile >/dev/null 2>&1; ls"],
        ["rm nofile 2>/tmp/e; ls"],
        ["rm nofile 2>> 'my log'", "ls"],
    ],
)
def test_error_messages_that_nobody_sees_are_noticed(commands: list[str]) -> None:
    [finding] = lint(commands)
    assert (finding.code, finding.severity, finding.pointer) == ("hides_errors", "warning", "/output/0/command")


@pytest.mark.parametrize(
    "commands",
    [
        ["x=$(rm nofile 2>&1); echo $x"],
        ["export x=$(rm nofile 2>&1)", 'test -z "${x}"'],
        ["x=$(ls); ls"],
        ["x=$(ls | wc -l 2>&1); (( x > 3 )) && ls"],
        ["rm nofile 2>/tmp/e; cat /tmp/e"],
        ["rm nofile 2>run.err", "wc -l < ~/run.err"],
        ["rm nofile 2>run.err; cat *.err"],
        ["make > log 2>&1"],
        ["make 2>&1 | tee log"],
        ["ls 2>&1 | sort; ls > /dev/null"],
        ["ls 2>&1 >/dev/null"],
        ["ls 2> >(sort)"],
        ["ls 2>/dev/stderr"],
        ["echo 'a 2>&- b' > f"],
    ],
)
def test_error_messages_that_are_kept_or_read_are_no_matter(commands: list[str]) -> None:
    assert codes(*commands) == []


@pytest.mark.parametrize("commands", [[], [""], ["  \n", "# only a remark"]])
def test_plan_without_commands_is_empty(commands: list[str]) -> None:
    assert codes(*commands) == ["empty_plan"]


@pytest.mark.parametrize("commands", [["echo done"], ["echo 42; printf 'ok\\n'"], ["echo one", "echo 'price: $5'"]])
def test_plan_that_only_talks_is_narration(commands: list[str]) -> None:
    assert codes(*commands) == ["narration"]


TALK = [
    ["cat <<EOF\nAll done\nEOF"],
    ["cat <<'EOF'\nprice: $(ls)\nEOF"],
    ["cat <<-EOF | tee /dev/stderr\n\tAll done\n\tEOF"],
    ["cat <<< done"],
    ["m='done'; echo \"$m\""],
    ["m=done", 'echo "${m}"'],
    ["export m=done; printf '%s\\n' $m"],
    ["cd ~; echo Backup complete"],
    ["cd project", "echo Backup complete"],
    ["sleep 0.1; echo done"],
    ["f(){ echo done; }; f"],
    ["function f { echo $1; }\nf done"],
    ["if true; then echo ok; fi"],
    ["[ -d ~ ] && echo ok"],
    ["test -d / && echo ok || echo no"],
    ["[[ 1 == 1 ]] && { echo ok; }"],
    ["(echo done) # at last"],
    ["echo done | tee /dev/null"],
    ["echo done | cat - >&2"],
    ["echo done > /dev/stdout 2>&1"],
    ["for i in 1 2; do echo moving; done"],
    ["/bin/echo done; command echo done"],
    ["set -euo pipefail; : start; echo done; exit 0"],
    ["bash -c 'echo done'"],
    ['eval "echo done"'],
    ["echo Are you sure?"],
    ["python3 -c 'print(\"done\")'"],
    ["python3 -c \"print('one', 2); print()\""],
    ["perl -e 'print \"done\\n\";'"],
    ["awk 'BEGIN { print \"done\" }'"],
    ["echo one \\\n  two"],
]


@pytest.mark.parametrize("commands", TALK)
def test_talk_is_narration_whatever_it_is_wrapped_in(commands: list[str]) -> None:
    assert "narration" in codes(*commands)


COMPUTED = [
    ['echo "$HOME"'],
    ["printf '%s\\n' \"$(wc -l < f)\""],
    ["printf '%(%F)T\\n'"],
    ["printf -v x done"],
    ["printf '%x\\n' 255"],
    ["printf '%.2f\\n' 2.71828"],
    ["printf '%d\\n' 0xff \"'A\""],
    ["s=a; s+=b; echo $s"],
    ["[ -f report ] && echo yes"],
    ["test -x /bin/ls && echo yes"],
    ["[ a -nt b ] && echo newer"],
    ["echo one | wc -c"],
    ["echo file?.txt"],
    ["cat f"],
    ["cat < f"],
    ["cat <<EOF\n$(ls)\nEOF"],
    ["cat <<EOF\nhome: $HOME\nEOF"],
    ["cat > f <<EOF\ntext\nEOF"],
    ["echo x > f"],
    ["echo x >> f"],
    ["echo x | tee f"],
    ["echo *.txt"],
    ["echo ~"],
    ["echo {1..5}"],
    ["echo $?"],
    ["m=$HOME; echo $m"],
    ["m=one; m=$HOME; echo $m"],
    ["m=$(ls); echo done"],
    ["m=data.txt; echo ${m%.txt}"],
    ["for i in 1 2 3; do echo $i; done"],
    ["for f in *; do echo $((1+1)); done"],
    ["if [ -f report.txt ]; then echo yes; else echo no; fi"],
    ['[ "$USER" = root ] && echo yes'],
    ["command -v ls; echo done"],
    ["echo done & wait"],
    ["sleep 60 & echo started"],
    ["cd project; pwd"],
    ["export -p; echo done"],
    ["set; echo done"],
    ["env; echo done"],
    ["true"],
    ["test -d /"],
    ["f(){ ls; }; f; echo done"],
    ["read x; echo $x"],
    ["diff <(ls) <(ls -a); echo done"],
    ["python3 -c 'print(3*4)'"],
    ["python3 -c 'print(f\"{1+1}\")'"],
    ["perl -e 'print \"$0\"'"],
    ["bash -c 'ls'; echo done"],
    ["(( 1 + 1 )); echo done"],
    ["echo 'unfinished"],
]


@pytest.mark.parametrize("commands", COMPUTED)
def test_what_writes_looks_up_or_prints_something_computed_is_no_narration(commands: list[str]) -> None:
    assert "narration" not in codes(*commands)


SLOW = (
    "$m ",
    "m=a;",
    "f()",
    "<<a\n",
    "cat <<a;",
    "echo a|",
    "{ ",
    "if ",
    "\\\n",
    "x=$(ls 2>&1);",
    "a 2>b;",
    "print(",
    "[ ",
)


@pytest.mark.parametrize("word", SLOW)
@pytest.mark.parametrize(
    "frame", ["{}", "echo {}", "python3 -c '{}'", "awk 'BEGIN{{{}'", 'bash -c "{}"', "cat <<E\n{}\nE"]
)
def test_hostile_text_is_judged_in_linear_time(word: str, frame: str) -> None:
    text = frame.format(word * (60_000 // len(word)))
    began = time.process_time()
    lint([text])
    assert time.process_time() - began < 3


def test_finding_points_at_the_step() -> None:
    [finding] = lint(["ls", "rm x || true"])
    assert finding.pointer == "/output/1/command"


@given(st.lists(st.text(max_size=60), max_size=4))
def test_any_text_is_judged_without_an_error(commands: list[str]) -> None:
    known = {"trap_exit", "swallows_errors", "empty_plan", "narration", "hides_errors"}
    assert {finding.code for finding in lint(commands)} <= known


def test_long_text_is_judged_in_time() -> None:
    assert codes("echo '" + "a'\"\\" * 20000) in ([], ["narration"])


@pytest.mark.parametrize(
    ("command", "is_handled"),
    [
        ("ls a || ls b", True),
        ("if ls a; then ls b; fi", True),
        ("! grep -q x f", True),
        ("until test -e f; do sleep 1; done", True),
        ("ls a; ls b", False),
        ("echo $(ls a)", False),
        ("echo 'a || b'", False),
        ("ls a | wc -l # || true", False),
    ],
)
def test_only_a_step_with_a_branch_can_deal_with_a_failure(command: str, is_handled: bool) -> None:
    assert handles_failures(command) is is_handled
