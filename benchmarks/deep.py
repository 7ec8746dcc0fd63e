"""What `validate --level deep` finds of what was planted, and what the near-duplicate pass costs beside its peers.

    python benchmarks/deep.py            100,000 samples (2,000 held-out records)
    python benchmarks/deep.py --quick    15,000
    python benchmarks/deep.py --json     one line of JSON, last

Text is drawn from 30,000 made-up words by Zipf's law. Planted: answers leaked into the prompt in four ways, held-out
records copied, embedded, edited and as near-duplicates, and copies of other samples with up to eight words changed.
Precision and recall are of (line, kind); recall of near-duplicates is of those whose true Jaccard similarity of word
2-grams is at least 0.8, precision that of the pairs named. The clean set is the same without anything planted.
All times are CPU seconds of this process, ours and the peers' interleaved, the least of the runs, from the texts on:
a peer's include making its word 2-grams in Python in the cheapest way there is, whose share is given as well.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from bisect import bisect
from collections.abc import Callable
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from frontier_core.jsonl import dumps
from validators.base import GateSettings
from validators.near_duplicates import NearDuplicates, grouped
from validators.validation import Validation

THRESHOLD = 0.8
LEAKS = ("verbatim", "respelled", "told", "told_final")
HELD = ("copied", "embedded", "edited", "near")


class Words:
    """Draws words by Zipf's law."""

    def __init__(self, seed: int, num: int = 30_000) -> None:
        self.rng = random.Random(seed)
        letters = "abcdefghijklmnopqrstuvwxyz"
        self.words = sorted({"".join(self.rng.choices(letters, k=self.rng.randint(2, 9))) for _ in range(num)})
        self.rng.shuffle(self.words)
        self._sums = list(accumulate(1 / (rank + 3) for rank in range(len(self.words))))

    def draw(self, least: int, most: int) -> list[str]:
        """Gives that many words."""
        num, total = self.rng.randint(least, most), self._sums[-1]
        return [self.words[bisect(self._sums, self.rng.random() * total)] for _ in range(num)]

    def sentence(self, words: list[str]) -> str:
        """Gives words as a text with commas and full stops."""
        out = [word + ("." if place % 12 == 11 else "," if place % 7 == 6 else "") for place, word in enumerate(words)]
        return " ".join(out).rstrip(".,") + "."


def sample(words: Words) -> dict[str, Any]:
    """Gives one chat record."""
    asked, told = words.sentence(words.draw(15, 60)), words.sentence(words.draw(15, 70))
    return {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": told}],
        "metadata": {"skill": "prose"},
    }


def leaked(words: Words, way: str) -> dict[str, Any]:
    """Gives a record whose prompt holds its answer."""
    record = sample(words)
    asked, answered = record["messages"]
    if way == "verbatim":
        asked["content"] += f" {answered['content']}"
    elif way == "respelled":
        asked["content"] += "\n" + answered["content"].upper().replace(",", " ,")
    else:
        final = str(words.rng.randint(1, 9999))
        answered["content"] = final if way == "told" else f"{answered['content']}\nThe answer is {final}."
        asked["content"] += words.rng.choice([f" The answer is {final}.", f"\n(Answer: {final})", f" result = {final}"])
    return record


def edit(words: Words, text: str, num: int) -> str:
    """Gives a text with that many words replaced."""
    parts = text.split()
    for _ in range(num):
        parts[words.rng.randrange(len(parts))] = words.words[words.rng.randrange(3000, len(words.words))]
    return " ".join(parts)


def contaminated(words: Words, way: str, held: dict[str, Any]) -> dict[str, Any]:
    """Gives a training record that holds a held-out one."""
    record = sample(words)
    question, answer = (turn["content"] for turn in held["messages"])
    if way == "copied":
        texts = [question, record["messages"][1]["content"]]
    elif way == "embedded":
        texts = [f"{record['messages'][0]['content']} {question} {words.sentence(words.draw(10, 30))}", answer]
        texts[1] = record["messages"][1]["content"]
    elif way == "edited":
        texts = [edit(words, question, len(question.split()) // 20), record["messages"][1]["content"]]
    else:
        texts = [edit(words, question, 1), edit(words, answer, 1)]
    return {**record, "messages": [{**t, "content": c} for t, c in zip(record["messages"], texts, strict=True)]}


class Planted:
    """A training set, what was planted in it by line, and the held-out set."""

    def __init__(self, num: int, *, seed: int, clean: bool = False) -> None:
        words = self.words = Words(seed)
        rng = words.rng
        self.held = [sample(words) for _ in range(max(50, num // 50))]
        self.records = [sample(words) for _ in range(num)]
        self.kinds: dict[str, dict[int, str]] = {"answer_leak": {}, "contamination": {}}
        self.pairs: list[tuple[int, int]] = []
        if clean:
            return
        places = rng.sample(range(num), num // 50 + num // 5)
        for place in places[: num // 100]:
            way = rng.choice(LEAKS)
            self.records[place] = leaked(words, way)
            self.kinds["answer_leak"][place + 1] = way
        for place in places[num // 100 : num // 50]:
            way = rng.choice(HELD)
            self.records[place] = contaminated(words, way, rng.choice(self.held))
            self.kinds["contamination"][place + 1] = way
        untouched = sorted(set(range(num)) - set(places))
        for place in places[num // 50 :]:
            source = rng.choice(untouched)
            turns = self.records[source]["messages"]
            copy = [{**turn, "content": edit(words, turn["content"], rng.randint(0, 4))} for turn in turns]
            self.records[place] = {**self.records[source], "messages": copy}
            self.pairs.append((source, place))

    def texts(self) -> list[str]:
        """Gives the text of each record, as the near-duplicate rule reads it."""
        return ["\n".join(turn["content"] for turn in record["messages"]) for record in self.records]


def found_by(planted: Planted) -> tuple[dict[str, set[int]], dict[str, Any], float]:
    """Runs the gate over the files; gives lines by code, the report's facts, and its CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        train, held = Path(folder, "train.jsonl"), Path(folder, "held.jsonl")
        for path, records in ((train, planted.records), (held, planted.held)):
            path.write_bytes(b"".join(dumps(record) + b"\n" for record in records))
        run = Validation(GateSettings(level="deep", profile="plain", against=(held,)))
        started = time.process_time()
        lines: dict[str, set[int]] = {}
        for judged in run.judge(train):
            for finding in judged.verdict.findings:
                lines.setdefault(finding.code, set()).add(judged.row.number)
        return lines, run.facts, time.process_time() - started


def scores(planted: dict[int, str], found: set[int]) -> dict[str, Any]:
    """Gives precision and recall, and the recall of each way of planting."""
    hits = found & set(planted)
    ways = sorted(set(planted.values()))
    by_way = {way: [line in found for line, one in planted.items() if one == way] for way in ways}
    return {
        "planted": len(planted), "found": len(found),
        "precision": round(len(hits) / len(found), 5) if found else None,
        "recall": round(len(hits) / len(planted), 5) if planted else None,
        "recall_by_way": {way: round(sum(right) / len(right), 4) for way, right in by_way.items()},
    }  # fmt: skip


def bigrams(text: str) -> set[str]:
    """Gives the word 2-grams of a text, as a plain Python set."""
    spaced = text.lower().replace(",", " , ").replace(".", " . ").split()
    return {f"{left} {right}" for left, right in pairwise(spaced)}


def cheap_bigrams(text: str) -> list[str]:
    """Gives word 2-grams as a user of a peer makes them: split, join, no care for commas."""
    words = text.split()
    return [f"{left} {right}" for left, right in pairwise(words)]


def similarity(left: set[str], right: set[str]) -> float:
    """Gives their Jaccard similarity."""
    return len(left & right) / len(left | right)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Gives what a function gives, and its CPU seconds."""
    started = time.process_time()
    value = work()
    return value, time.process_time() - started


def ours(texts: list[str]) -> Any:
    """Gives the pairs found."""
    found = NearDuplicates(THRESHOLD, length=2)
    found.add(texts)
    return found.pairs()[0]


def rensa_flags(sets: list[list[str]]) -> set[int]:
    """Gives what rensa's deduplicator takes for duplicates, with the bands that gave it recall .97."""
    import rensa

    seen = rensa.RMinHashDeduplicator(THRESHOLD, 128, True, 16)
    return {place for place, fresh in enumerate(seen.add_pairs(list(enumerate_as_text(sets)))) if not fresh}


def rensa_stream_flags(sets: list[list[str]]) -> set[int]:
    """Gives what rensa's deduplicator takes for duplicates one by one with its default bands."""
    import rensa

    seen = rensa.RMinHashDeduplicator(THRESHOLD, 128, True)
    flagged = set()
    for place, found in enumerate(sets):
        sketch = rensa.RMinHash(128, 42)
        sketch.update(found)
        if not seen.add(str(place), sketch):
            flagged.add(place)
    return flagged


def enumerate_as_text(sets: list[list[str]]) -> Any:
    """Yields (key, tokens) as rensa takes them."""
    return ((str(place), found) for place, found in enumerate(sets))


def datasketch_flags(sets: list[list[str]]) -> set[int]:
    """Gives what datasketch's LSH takes for duplicates of an earlier text."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=THRESHOLD, num_perm=128)
    flagged = set()
    for place, sketch in enumerate(
        MinHash.generator([[gram.encode() for gram in grams] for grams in sets], num_perm=128)
    ):
        if index.query(sketch):
            flagged.add(place)
        index.insert(place, sketch, check_duplication=False)
    return flagged


def near_duplicates(planted: Planted, *, repeats: int, with_datasketch: int) -> dict[str, Any]:
    """Gives recall, false pairs and speed of ours and of the peers over the same texts."""
    texts = planted.texts()
    sets = [bigrams(text) for text in texts]
    true = [pair for pair in planted.pairs if similarity(sets[pair[0]], sets[pair[1]]) >= THRESHOLD]
    peers = {"rensa": rensa_flags, "rensa_stream": rensa_stream_flags}
    runs: dict[str, list[float]] = {"ours": [], **{name: [] for name in peers}}
    flags: dict[str, set[int] | None] = {}
    grams_s = min(timed(lambda: [cheap_bigrams(text) for text in texts])[1] for _ in range(2))
    ours(texts[:200])
    for _ in range(repeats):
        for name, peer in peers.items():
            pairs, spent = timed(lambda: ours(texts))
            runs["ours"].append(spent)
            try:
                flags[name], spent = timed(lambda peer=peer: peer([cheap_bigrams(text) for text in texts]))
            except ImportError:
                sys.stderr.write(f"{name}: not installed\n")
                flags[name] = None
                continue
            runs[name].append(spent)
    group_of = {one: place for place, group in enumerate(grouped(pairs)) for one in group}
    mine = sum(group_of.get(left, -1) == group_of.get(right, -2) for left, right in true)
    false = sum(similarity(sets[left], sets[right]) < THRESHOLD for left, right in pairs.tolist())
    out: dict[str, Any] = {
        "pairs_at_threshold": len(true), "recall": round(mine / len(true), 4), "false_pairs": false,
        "cpu_s": round(min(runs["ours"]), 3), "docs_per_s": round(len(texts) / min(runs["ours"])),
        "grams_for_peers_cpu_s": round(grams_s, 3), "peers": {}, "ratios": {},
    }  # fmt: skip
    for name, flagged in flags.items():
        out["peers"][name] = peer_row(flagged, true, runs[name], len(texts))
        out["ratios"][name] = round(min(runs["ours"]) / min(runs[name]), 3) if runs[name] else None
        spent = min(runs[name], default=0.0) - grams_s
        out["ratios"][f"{name}_given_grams"] = round(min(runs["ours"]) / spent, 3) if spent > 0 else None
    if with_datasketch:
        part = [pair for pair in true if pair[1] < with_datasketch and pair[0] < with_datasketch]
        try:
            flagged, spent = timed(lambda: datasketch_flags([cheap_bigrams(text) for text in texts[:with_datasketch]]))
            row = peer_row(flagged, part, [spent], with_datasketch)
            out["ratios"]["datasketch"] = round(row["docs_per_s"] / out["docs_per_s"], 4)
        except ImportError:
            sys.stderr.write("datasketch: not installed\n")
            row, out["ratios"]["datasketch"] = None, None
        out["peers"]["datasketch"] = row
    return out


def peer_row(flagged: set[int] | None, true: list[tuple[int, int]], spent: list[float], num: int) -> Any:
    """Gives one peer's recall and speed; a pair counts as found when either side is flagged."""
    if flagged is None:
        return None
    hits = sum(left in flagged or right in flagged for left, right in true)
    return {
        "recall": round(hits / len(true), 4) if true else None, "cpu_s": round(min(spent), 3),
        "docs_per_s": round(num / min(spent)),
    }  # fmt: skip


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("-n", "--num", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--near-only", action="store_true", help="the near-duplicate pass alone")
    asked = parser.parse_args()
    num = asked.num or (15_000 if asked.quick else 100_000)
    planted = Planted(num, seed=asked.seed)
    near = near_duplicates(planted, repeats=2 if asked.quick else 3, with_datasketch=min(num, 4000))
    if asked.near_only:
        print(json.dumps(near, indent=None if asked.json else 1))
        return
    lines, facts, spent = found_by(planted)
    result: dict[str, Any] = {"num_samples": num, "num_held_out": len(planted.held), "gate_cpu_s": round(spent, 2)}
    leaks, held = planted.kinds["answer_leak"], planted.kinds["contamination"]
    result["answer_leak"] = scores(leaks, lines.get("answer_leak", set()))
    result["contamination"] = scores(held, lines.get("contamination", set()))
    result["near_duplicate"] = near
    clean, _, _ = found_by(Planted(num, seed=asked.seed + 1, clean=True))
    result["clean_set"] = {code: len(found) for code, found in sorted(clean.items())}
    result["facts"] = facts
    if asked.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(name, json.dumps(value, indent=1) if isinstance(value, dict) else value)


if __name__ == "__main__":
    main()
