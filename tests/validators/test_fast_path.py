"""The fast path against the slow diagnosis: what it passes, the schema and QUICK's rules pass too, findings and all."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontier_core.jsonl import LineEnds, parse_raw
from frontier_core.lineage import Tally
from validators.base import GateSettings
from validators.content_gate import ContentGate
from validators.fast_path import FAST_SPECS, FastPath
from validators.schema_gate import SchemaGate

P = "🤔🤔🤔🤔\n"
CHAT = {
    "messages": [{"role": "user", "content": "7 + 5?"}, {"role": "assistant", "content": P + "12"}],
    "metadata": {"skill": "binary", "level": 2, "seed": 7, "own": [1, {"a": None}], "n": 0.5},
}
OTHERS = {
    "syllo_v1": {**CHAT, "metadata": {"skill": "syllo", "level": 1}},
    "sparring_v1": {**CHAT, "type": "sparring_correction"},
    "completion_v1": {"text": "once", "metadata": {"skill": "web"}},
    "preference_v1": {"prompt": "p", "chosen": "a", "rejected": [CHAT["messages"][0]], "metadata": {"skill": "x"}},
    "reward_v1": {"prompt": "p", "response": "a", "reward": 0.5, "metadata": {"skill": "x"}},
}


def path(profile="emoji_think", spec="chat_sft_v1", *records):
    fast = FastPath(spec, profile, is_guessed=True)
    fast.learn(records or [CHAT])
    return fast


def slow_passes(line, profile="emoji_think"):
    """The judgement that counts: parsed whole, held against the JSON Schema and every rule of QUICK."""
    row = parse_raw(line, "x", 1, LineEnds("x"))
    if row is None or row.problem is not None:
        return None, ["unreadable"]
    spec, findings = SchemaGate().check(row.record)
    gate = ContentGate(settings=GateSettings(level="quick", profile=profile))
    return spec, [f.code for f in findings] or [f.code for f in gate.check(row.record, spec, 1)]


LINE = orjson.dumps(CHAT)
TRAPS = {
    "invalid UTF-8 in an unknown key's value": LINE.replace(b'"n":0.5', b'"z":"\xff"'),
    "invalid UTF-8 in a learnt key's value": LINE.replace(b'"own":[1,', b'"own":["\xff",'),
    "invalid UTF-8 in a key": LINE.replace(b'"n"', b'"n\xff"'),
    "overlong UTF-8": LINE.replace(b"7 + 5", b"\xc0\x80"),
    "a surrogate in UTF-8": LINE.replace(b"7 + 5", b"\xed\xa0\x80"),
    "1e400 in an unknown key": LINE.replace(b'"n":0.5', b'"z":1e400'),
    "1e400 in a learnt key": LINE.replace(b"0.5", b"1e400"),
    "NaN": LINE.replace(b"0.5", b"NaN"),
    "Infinity": LINE.replace(b"0.5", b"-Infinity"),
    "a lone surrogate": LINE.replace(b"7 + 5", b"\\ud800"),
    "surrogates in the wrong order": LINE.replace(b"7 + 5", b"\\udd14\\ud83e"),
    "a byte order mark": b"\xef\xbb\xbf" + LINE,
    "2000 deep": LINE.replace(b"0.5", b"[" * 2000 + b"]" * 2000),
    "2000 deep in a learnt key": LINE.replace(b'{"a":null}', b"[" * 2000 + b"]" * 2000),
    "never closed": LINE.replace(b"0.5", b"[" * 100_000),
    "a leading zero": LINE.replace(b"0.5", b"01"),
    "a raw control character": LINE.replace(b"7 + 5", b"\x01"),
    "a trailing comma": LINE[:-1] + b",}",
    "rubbish after the end": LINE + b"{}",
    "an unknown key beside messages": LINE[:-1] + b',"x":1}',
    "an unknown key in a turn": LINE.replace(b'"role":"user"', b'"role":"user","name":"x"'),
    "a role in capitals": LINE.replace(b'"user"', b'"User"'),
    "no metadata": orjson.dumps({"messages": CHAT["messages"]}),
    "an empty skill": LINE.replace(b'"binary"', b'""'),
    "a negative level": LINE.replace(b'"level":2', b'"level":-1'),
    "no assistant": LINE.replace(b'"assistant"', b'"user"'),
    "content is a number": LINE.replace(b'"7 + 5?"', b"7"),
    "content is null": LINE.replace(b'"7 + 5?"', b"null"),
    "a blank prompt": LINE.replace(b"7 + 5?", "\u3000".encode()),
    "no prefix": LINE.replace("🤔".encode(), b""),
    "a think tag spelled with an escape": LINE.replace(b"12", b"\\u003cthink>"),
    "a think tag with a letter as an escape": LINE.replace(b"12", b"<\\u0074hink>"),
    "invalid UTF-8 in an answer that a second one replaces": LINE.replace(
        b'"role":"assistant"', b'"role":"assistant","content":"\xff"'
    ),
    "a seed that is no number": LINE.replace(b'"seed":7', b'"seed":"7"'),
    "duplicate key, the last one bad": LINE.replace(b'"role":"user"', b'"role":"user","role":"robot"'),
    "two systems": orjson.dumps({**CHAT, "messages": [{"role": "system", "content": "a"}] * 2 + CHAT["messages"]}),
}


@pytest.mark.parametrize("line", TRAPS.values(), ids=TRAPS.keys())
def test_a_trap_is_left_to_the_slow_path_and_refused_there(line):
    assert path().sift([line + b"\n"]) == [0]
    assert slow_passes(line)[1] != []


FINE = {
    "as learnt": LINE,
    "2**70 in a learnt key": LINE.replace(b'"seed":7', b'"seed":1180591620717411303424'),
    "another value in a learnt container": LINE.replace(b"[1,", b'["x",{"y":[2,"z"]},'),
    "duplicate key, the last one good": LINE.replace(b'"role":"user"', b'"role":"user","role":"user"'),
    "white space": LINE.replace(b":", b" :\t"),
    "keys spelled with escapes": LINE.replace(b'"role"', b'"ro\\u006ce"'),
    "two rounds": orjson.dumps({**CHAT, "messages": CHAT["messages"] * 2}),
}


@pytest.mark.parametrize("line", FINE.values(), ids=FINE.keys())
def test_what_is_sure_needs_no_second_look(line):
    assert path().sift([line + b"\n"]) == []
    assert slow_passes(line) == ("chat_sft_v1", [])


SLOW_BUT_FINE = {
    "an unknown key": (LINE.replace(b'"n"', b'"m"'), "chat_sft_v1"),
    "an unknown skill": (LINE.replace(b'"binary"', b'"other"'), "chat_sft_v1"),
    "a key less than ever": (LINE.replace(b'"seed":7,', b""), "chat_sft_v1"),
    "a level written as 2.0": (LINE.replace(b'"level":2', b'"level":2.0'), "chat_sft_v1"),
    "a duplicate key, only the last one good": (
        LINE.replace(b'"role":"user"', b'"role":1,"role":"user"'),
        "chat_sft_v1",
    ),
    "syllo is a spec of its own": (LINE.replace(b'"binary"', b'"syllo"'), "syllo_v1"),
}


@pytest.mark.parametrize(("line", "spec"), SLOW_BUT_FINE.values(), ids=SLOW_BUT_FINE.keys())
def test_what_is_only_unusual_is_passed_by_the_slow_path(line, spec):
    assert path().sift([line + b"\n"]) == [0]
    assert slow_passes(line) == (spec, [])


@pytest.mark.parametrize(("spec", "record"), OTHERS.items())
def test_every_fast_spec_is_as_narrow_as_its_schema(spec, record):
    line = orjson.dumps(record)
    assert path("emoji_think", spec, record).sift([line, line[:-1] + b',"x":1}', LINE]) == [1, 2]
    assert slow_passes(line) == (spec, [])
    assert set(OTHERS) | {"chat_sft_v1"} == set(FAST_SPECS)


def test_what_one_line_does_without_every_line_may():
    fast = path("emoji_think", "chat_sft_v1", CHAT, {**CHAT, "metadata": {"skill": "binary", "level": 2}})
    assert fast.sift([LINE, LINE.replace(b'"seed":7,', b"")]) == []


def test_makers_are_counted_however_few_or_many_there_are():
    chats = [{**CHAT, "metadata": {"skill": "a", "source": name}} for name in ("x", "y")]
    lines = [orjson.dumps(chat) for chat in chats]
    fast = path("emoji_think", "chat_sft_v1", chats[0])
    assert fast.sift([lines[0], lines[1], lines[0]]) == [1]
    fast.learn([chats[1]])
    assert fast.sift([lines[0], lines[1], lines[1], LINE.replace(b"binary", b"a")]) == [3]
    tally = Tally()
    fast.tally(tally)
    assert tally.passed == {"x": 3, "y": 2}


def test_counts_are_those_of_the_records():
    marked = {**CHAT, "metadata": {"skill": "a", "lineage": ["gen:a@1"]}}
    fast = path("emoji_think", "chat_sft_v1", CHAT, marked)
    assert fast.sift([LINE, orjson.dumps(marked), LINE, LINE.replace(b'"level":2,', b"")]) == []
    tally = Tally()
    fast.tally(tally)
    assert tally.tags == {"skill=binary,level=2": 2, "skill=a": 1, "skill=binary": 1}
    assert tally.marks == {"gen:a@1": 1}
    assert tally.specs == {"chat_sft_v1": 4}


def test_keys_that_no_typed_key_can_have_are_never_learnt():
    odd = {**CHAT, "metadata": {"skill": "binary", 'a"b': 1, "c\n": 2, "": 3, "é": 4}}
    fast = path("emoji_think", "chat_sft_v1", odd)
    fast.learn([odd])
    assert fast.sift([orjson.dumps(odd)]) in ([], [0])
    assert slow_passes(orjson.dumps(odd)) == ("chat_sft_v1", [])


_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**80), 2**80),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
_SNIPPETS = [
    b"",
    b"\xff",
    b"\\ud800",
    b"1e400",
    b"NaN",
    b"[[[[[[",
    b'"',
    b",",
    b"}",
    b'"x":1,',
    b'"level":2,',
    b" ",
    b"\x00",
    b"<think>",
    b"\\u003e",
    b"0",
    b"-",
    b"null",
    b"9" * 400,
    b'"role":"user",',
]


@settings(max_examples=150, deadline=None)
@given(
    extra=st.dictionaries(
        st.sampled_from(
            ["own", "n", "seed", "level", "difficulty", "notes", "graph_coverage", "tool_set", "lineage", "z"]
        ),
        _values,
        max_size=3,
    ),
    roles=st.lists(st.sampled_from(["system", "user", "assistant", "tool"]), min_size=1, max_size=4),
    text=st.sampled_from(
        [P + "12", "12", "", " ", P, P + "<think>", P + "a > b", "<<ANS_START>> (add 1 2) <<ANS_END>>"]
    ),
    cuts=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from(_SNIPPETS)), max_size=2),
    profile=st.sampled_from(["emoji_think", "plain", "regime3"]),
)
def test_fast_and_slow_agree(extra, roles, text, cuts, profile):
    turns = [{"role": role, "content": text if role == "assistant" else "q"} for role in roles]
    record = {"messages": turns, "metadata": {"skill": "binary", **extra}}
    import json

    line = json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")
    for place, length, snippet in cuts:
        line = line[:place] + snippet + line[place + length :]
    line = line.replace(b"\n", b"")
    for known in ([CHAT], [CHAT, record]):
        fast = FastPath("chat_sft_v1", profile, is_guessed=True)
        fast.learn(known)
        if fast.sift([line]) == []:
            assert slow_passes(line, profile) == ("chat_sft_v1", [])
