"""Recognised lines against the slow path, which has nothing to say of them; counts against those of parsing."""

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontier_core.jsonl import LineEnds, parse_raw
from frontier_core.lineage import Tally
from validators.base import GateSettings
from validators.content_gate import ContentGate
from validators.regular_lines import PROFILES, RegularLines
from validators.schema_gate import SchemaGate

pytest.importorskip("hyperscan")

P = "🤔🤔🤔🤔\n"
METADATA = {
    "skill": "binary", "level": 2, "source": "web", "seed": 7, "own": "x", "n": 0.5, "ok": True, "none": None,
}  # fmt: skip


def chat(answer=P + "12", ask="7 + 5?", rounds=1, system="", **metadata):
    turns = [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}] * rounds
    turns = [{"role": "system", "content": system}, *turns] if system else turns
    return {"messages": turns, "metadata": {**METADATA, **metadata}}


def compact(record):
    return orjson.dumps(record) + b"\n"


def spaced(record):
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def learnt(profile="emoji_think", write=compact, *more):
    lines = RegularLines(profile, is_guessed=True)
    assert lines.learn([write(record) for record in more or (chat(), chat(system="s", rounds=2))])
    return lines


LINES = {(profile, write): learnt(profile, write) for profile in PROFILES for write in (compact, spaced)}


SCHEMA_GATE = SchemaGate()


def slow_findings(line, profile):
    """What the judgement that counts has to say of a line: parsed whole, JSON Schema, every rule of QUICK."""
    row = parse_raw(line, "x", 1, LineEnds("x"))
    if row is None or row.problem is not None:
        return ["unreadable"]
    spec, findings = SCHEMA_GATE.check(row.record)
    gate = ContentGate(settings=GateSettings(level="quick", profile=profile))
    return [f.code for f in findings or gate.check(row.record, spec, 1)] or ([] if spec == "chat_sft_v1" else [spec])


LINE = compact(chat())
TRAPS = {
    "invalid UTF-8 in a value": LINE.replace(b'"own":"x"', b'"own":"\xff"'),
    "a byte too few": LINE.replace(b'"own":"x"', b'"own":"\xe4\xb8"'),
    "a byte too many": LINE.replace(b'"own":"x"', b'"own":"\xc3\xa4\xa4"'),
    "overlong UTF-8": LINE.replace(b"7 + 5", b"\xc0\x80"),
    "overlong UTF-8 of three bytes": LINE.replace(b"7 + 5", b"\xe0\x80\x80"),
    "a surrogate in UTF-8": LINE.replace(b"7 + 5", b"\xed\xa0\x80"),
    "beyond Unicode": LINE.replace(b"7 + 5", b"\xf4\x90\x80\x80"),
    "a character cut by the end of the line": LINE.replace(b"}}\n", b"}}\xe4\n"),
    "1e400": LINE.replace(b"0.5", b"1e400"),
    "a long exponent": LINE.replace(b"0.5", b"1e+00400"),
    "NaN": LINE.replace(b"0.5", b"NaN"),
    "a leading zero": LINE.replace(b'"seed":7', b'"seed":07'),
    "a plus": LINE.replace(b'"seed":7', b'"seed":+7'),
    "no digit after the point": LINE.replace(b"0.5", b"0."),
    "a number of 5000 digits": LINE.replace(b'"seed":7', b'"seed":' + b"7" * 5000),
    "a lone surrogate": LINE.replace(b"7 + 5", b"\\ud800"),
    "an unknown escape": LINE.replace(b"7 + 5", b"\\x"),
    "an escaped backslash before the end": LINE.replace(b'7 + 5?"', b'7 + 5?\\\\""'),
    "an escaped quote at the end": LINE.replace(b'7 + 5?"', b'7 + 5?\\"'),
    "a text that goes on like a line": LINE.replace(
        b'7 + 5?"', b'a\\"},{"role":"assistant","content":"' + P.encode()[:-1]
    ),
    "a byte order mark": b"\xef\xbb\xbf" + LINE,
    "a control character": LINE.replace(b"7 + 5", b"\x01"),
    "a carriage return inside": LINE.replace(b"7 + 5", b"\r"),
    "NUL": LINE.replace(b"7 + 5", b"\x00"),
    "a trailing comma": LINE.replace(b"}}\n", b"},}\n"),
    "rubbish after the end": LINE.replace(b"}}\n", b"}}{}\n"),
    "a third brace": LINE.replace(b"}}\n", b"}}}\n"),
    "an unknown key beside messages": LINE.replace(b"}}\n", b'},"x":1}\n'),
    "an unknown key in a turn": LINE.replace(b'"role":"user"', b'"role":"user","name":"x"'),
    "a role in capitals": LINE.replace(b'"user"', b'"User"'),
    "an empty skill": LINE.replace(b'"binary"', b'""'),
    "a skill of another spec": LINE.replace(b'"binary"', b'"syllo"'),
    "a negative level": LINE.replace(b'"level":2', b'"level":-1'),
    "two users": LINE.replace(b'"assistant"', b'"user"'),
    "content is a number": LINE.replace(b'"7 + 5?"', b"7"),
    "an empty prompt": LINE.replace(b'"7 + 5?"', b'""'),
    "a blank prompt": LINE.replace(b"7 + 5?", b" \\n\\t "),
    "a prompt of wide blanks": LINE.replace(b"7 + 5?", "\u3000\u00a0\u2028\u1680\u0085".encode()),
    "a prompt of escaped blanks": LINE.replace(b"7 + 5?", rb"\u0020\u00a0"),
    "a blank system": compact(chat(system="\u2003")),
    "no prefix": LINE.replace("🤔".encode(), b""),
    "a prefix too short": LINE.replace("🤔".encode(), b"", 1),
    "a prefix with a backslash and an n": LINE.replace(b"\\n12", b"\\\\n12"),
    "a think tag": LINE.replace(b"12", b"<think>"),
    "the end of a think tag spelled with a slash": LINE.replace(b"12", b"<\\/think>"),
    "a think tag spelled with an escape": LINE.replace(b"12", b"\\u003cthink>"),
    "a seed that is no number": LINE.replace(b'"seed":7', b'"seed":"7"'),
    "a seed that is no whole number": LINE.replace(b'"seed":7', b'"seed":7.5'),
    "a level that is none": LINE.replace(b'"level":2', b'"level":true'),
    "a duplicate key, the last one bad": LINE.replace(b'"level":2', b'"level":2,"level":-2'),
    "a role spelled with an escape": LINE.replace(b'"user"', b'"\\u0055ser"'),
    "two systems": compact({**chat(), "messages": [{"role": "system", "content": "a"}] * 2 + chat()["messages"]}),
    "no turns": LINE.replace(orjson.dumps(chat()["messages"]), b"[]"),
    "only a system": LINE.replace(orjson.dumps(chat()["messages"]), b'[{"role":"system","content":"a"}]'),
    "a blank line": b"\n",
    "torn": LINE[:-20],
}


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS.keys())
def test_a_trap_is_not_recognised_and_refused_by_the_slow_path(trap):
    assert LINES["emoji_think", compact].sift(LINE + trap).gaps == [(len(LINE), len(LINE) + len(trap), 1)]
    assert slow_findings(trap, "emoji_think") != []


UNSURE = {
    "no last newline": LINE[:-1],
    "CRLF": LINE.replace(b"\n", b"\r\n"),
    "other spacing": spaced(chat()),
    "another order of keys": compact({"metadata": METADATA, "messages": chat()["messages"]}),
    "2**70": LINE.replace(b'"seed":7', b'"seed":1180591620717411303424'),
    "-0": LINE.replace(b'"seed":7', b'"seed":-0'),
    "a key more": compact(chat(z=1)),
    "an escape by number": LINE.replace(b"7 + 5", b"\\u00e9"),
    "a key spelled with an escape": LINE.replace(b'"role"', b'"ro\\u006ce"', 1),
}


@pytest.mark.parametrize("line", UNSURE.values(), ids=UNSURE.keys())
def test_what_is_only_unusual_is_left_to_others(line):
    assert LINES["emoji_think", compact].sift(LINE + line).gaps == [(len(LINE), len(LINE) + len(line), 1)]
    assert slow_findings(line, "emoji_think") == []


FINE = {
    "quotes and backslashes": chat(P + 'say "a\\b\\\\"', ask='"\\'),
    "other letters": chat(P + "天地\u3042é🙂", ask="天"),
    "blanks before text": chat(P + " x", ask=" \n\u00a0x"),
    "numbers": chat(level=0, seed=-12, n=-1.5e-7),
    "longer": chat(rounds=5, system="s"),
    "tags and arrows": chat(P + "a > b -> c </b>", ask="<b>"),
    "other words": chat(skill='m"c', source="s,"),
}


@pytest.mark.parametrize("record", FINE.values(), ids=FINE.keys())
@pytest.mark.parametrize("write", [compact, spaced])
def test_good_lines_are_recognised_and_counted(record, write):
    lines = learnt("emoji_think", write)
    size = len(write(record))
    sifting = lines.sift(write(record) * 2 + b"[]\n" + write(record))
    assert (sifting.gaps, sifting.num_lines) == ([(2 * size, 2 * size + 3, 2)], 4)
    tally, expected = Tally(), Tally()
    lines.tally(tally)
    for _ in range(3):
        expected.add(record)
        expected.specs["chat_sft_v1"] += 1
    assert tally == expected


OTHER = {"skill": "z", "generator_id": "g", "seed": 4, "generator_version": "2", "level": 12}


@pytest.mark.parametrize(
    "other", [chat(lineage=["gen:a@1", "b"]), {"metadata": OTHER, "messages": chat()["messages"]}, chat(z=1)]
)
def test_two_layouts_are_counted_each_by_its_own(other):
    lines = learnt("emoji_think", compact, chat(), other)
    records = [chat(), other, chat(), other, other, chat(skill="y", source="p"), other]
    assert lines.sift(b"".join(map(compact, records))).gaps == []
    tally, expected = Tally(), Tally()
    lines.tally(tally)
    for record in records:
        expected.add(record)
        expected.specs["chat_sft_v1"] += 1
    assert tally == expected


def test_what_no_expression_tells_is_not_learnt():
    lines = RegularLines("plain", is_guessed=True)
    assert not lines.learn([compact(chat(own={"a": 1}))])
    assert not lines.learn([compact(chat(notes="n"))])
    assert not lines.learn([compact(chat(**{'a"level': 1}))])
    assert not lines.learn([LINE.replace(b"7 + 5", b"\\u00e9")])
    assert not lines.learn([b'{"text":"a","metadata":{"skill":"web"}}'])


def test_every_spoilt_utf8_is_found():
    starts = [b"", *(bytes([byte]) for byte in range(128, 256))]
    tails = [b"", b"\x80", b"\x8f", b"\x90", b"\x9f", b"\xa0", b"\xbf", b"\xc2", b"a"]
    texts = [
        a + b + c + d for a in starts for b in tails for c in (b"", b"\x80", b"\xbf", b"\xe1") for d in (b"", b"\x80")
    ]
    lines = [LINE.replace(b"12", b"1" + text + b"2") for text in texts]
    wrong = {line for text, line in zip(texts, lines, strict=True) if text.decode(errors="replace").encode() != text}
    block = b"".join(lines)
    found = {block[start:stop] for start, stop, _ in LINES["emoji_think", compact].sift(block).gaps}
    assert found == wrong


_TEXTS = st.one_of(
    st.text(max_size=6),
    st.text(st.characters(categories=["Zs", "Zl", "Zp", "Cc"]), max_size=3),
    st.sampled_from([P + "12", P, P + " > ", P + "<think>", "", " ", '"', "\\"]),
)
_SNIPPETS = [
    b"", b"\xff", b"\xe3\x80\x80", b"\\", b"\\\\", b'\\"', b'"', b"\\ud800", b"\\u0020", b"\\/", b"1e400", b"-", b"0",
    b".", b"e5", b",", b"}", b"]", b"{", b":", b" ", b"\r", b"\x00", b"think>", b"null", b"true", b"9" * 20,
    b'"seed":2,',
    b'"role":"user",', b'},{"role":"user","content":"', b"\x7f", b"\xc2\xa0", b"\xed\xa0\x80",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(_TEXTS, min_size=2, max_size=5),
    skill=st.sampled_from(["binary", "syllo", "", "é"]),
    level=st.sampled_from([0, 2, -1, 2.0, "2", None]),
    cuts=st.lists(st.tuples(st.integers(0, 260), st.integers(0, 4), st.sampled_from(_SNIPPETS)), max_size=2),
    byte=st.one_of(st.none(), st.tuples(st.integers(0, 260), st.integers(0, 255))),
    profile=st.sampled_from(PROFILES),
    write=st.sampled_from([compact, spaced]),
)
def test_what_is_recognised_passes_the_slow_path(texts, skill, level, cuts, byte, profile, write):
    turns = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]
    line = write({"messages": turns, "metadata": {**METADATA, "skill": skill, "level": level}})
    for place, length, snippet in cuts:
        line = line[:place] + snippet + line[place + length :]
    if byte:
        line = line[: byte[0]] + bytes([byte[1]]) + line[byte[0] + 1 :]
    good, lines = write(chat()), LINES[profile, write]
    block = good + line + good
    gaps = lines.sift(block).gaps
    for judged in line.splitlines(keepends=True) if b"\r" not in line else ():
        if not any(judged in block[start:stop] for start, stop, _ in gaps):
            assert slow_findings(judged, profile) == []
    assert all(
        start >= len(good) and stop <= len(good) + len(line) + (len(good) if line[-1:] != b"\n" else 0)
        for start, stop, _ in gaps
    )
