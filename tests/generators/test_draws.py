"""Candidates, their digests, and the crew that draws them in other processes."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.errors import FrontierError, UsageError
from frontier_core.jsonl import dumps
from frontier_core.seeds import is_held_out
from generators.draws import Cell, Crew, DigestSet, WrongAnswer, candidates, digest_of, distinct, verifier_of
from generators.procedural.binary import GENERATOR


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40)))
def test_a_digest_set_says_what_a_set_says(digests):
    known, seen = set(), DigestSet()
    for digest in digests:
        digest = digest or 1  # 0 marks an empty slot, and is taken for 1
        assert seen.add(digest) == (digest not in known)
        known.add(digest)
    assert len(seen) == len(known)


def test_a_digest_set_takes_at_most_27_bytes_each():
    seen = DigestSet()
    for number in range(60_000):
        assert seen.add(digest_of(str(number)))
    assert len(seen._slots) * 8 <= 27 * 60_000
    assert not seen.add(digest_of("59999"))


def test_candidates_are_those_of_one_split():
    cell = Cell(GENERATOR, 2, 7, "train")
    drawn = list(candidates(cell, range(200)))
    for index, found in enumerate(drawn):
        problem = GENERATOR.problem(GENERATOR.sample(7, index, 2))
        assert (found is None) == is_held_out(problem)
        assert found is None or found[0] == digest_of(problem)
    assert 2 <= drawn.count(None) <= 50


class Liar:
    """As binary, but off by one in its tenth record."""

    skill, levels = "binary", (1,)
    generator_id, generator_version = "binary", "6.6.6"

    def capacity(self, level):
        return 1000

    def problem(self, record):
        return GENERATOR.problem(record)

    def sample(self, seed, index, level):
        record = GENERATOR.sample(seed, index, level)
        if index == 10:
            record["messages"][1]["content"] += "1"
        return record


def test_a_wrong_label_does_not_leave_a_checked_cell():
    seed = next(s for s in range(9) if not is_held_out(GENERATOR.problem(GENERATOR.sample(s, 10, 1))))
    assert len(list(candidates(Cell(Liar(), 1, seed, "train"), range(20)))) == 20
    with pytest.raises(WrongAnswer, match=rf"binary@6.6.6 seed {seed} index 10 level 1: ") as caught:
        list(candidates(Cell(Liar(), 1, seed, "train", 1), range(20)))
    assert caught.value.exit_code == 70


def test_every_so_manieth_candidate_is_checked():
    seed = next(s for s in range(9) if not is_held_out(GENERATOR.problem(GENERATOR.sample(s, 10, 1))))
    assert len(list(candidates(Cell(Liar(), 1, seed, "train", 4), range(20)))) == 20
    with pytest.raises(WrongAnswer):
        list(candidates(Cell(Liar(), 1, seed, "train", 5), range(20)))


def test_plans_have_no_verifier_here():
    assert verifier_of("shell_git") is None
    assert verifier_of("binary") is not None


def test_distinct_keeps_first_comers_and_counts_misses_in_a_row():
    stream = [(1, "a"), None, (1, "b"), (2, "c"), (1, "d"), None, None, (3, "e")]
    assert list(distinct(iter(stream), max_misses=3, exhausted=UsageError)) == ["a", "c", "e"]
    with pytest.raises(UsageError) as caught:
        list(distinct(iter(stream), max_misses=2, exhausted=lambda num: UsageError(f"only {num}")))
    assert caught.value.message == "only 2"


def test_a_crew_gives_the_candidates_of_every_cell_in_order():
    cells = [Cell(GENERATOR, level, 3, "train", 32) for level in (1, 4)]
    with Crew(cells, [30, 5], 2) as crew:
        for place, cell in enumerate(cells):
            expected = [found and (found[0], dumps(found[1])) for found in candidates(cell, range(60))]
            stream = crew.stream(place)
            assert [next(stream) for _ in range(60)] == expected
        processes = crew._processes
        assert all(process.is_alive() for process in processes)
    assert not any(process.is_alive() for process in processes)


def test_a_crew_draws_ahead_of_its_reader_but_not_beyond_what_is_wanted():
    cells = [Cell(GENERATOR, level, 3, "train") for level in (1, 4)]
    with Crew(cells, [2000, 10], 2) as crew:
        long, short = crew.stream(0), crew.stream(1)
        next(long)
        next(short)
        assert crew._num_asked == [4, 2]  # of 128 and of 8 lines each
        for _ in range(15 * 128):
            next(long)
        assert crew._num_asked == [18, 2]  # nine tenths of the candidates are of this split


def test_a_crew_says_that_a_worker_died():
    with Crew([Cell(GENERATOR, 4, 3, "train")], [5000], 1) as crew:
        stream = crew.stream(0)
        next(stream)
        crew._processes[0].kill()
        with pytest.raises(FrontierError, match="a worker process died"):
            deque(stream, maxlen=0)


def test_a_generator_that_can_not_travel_is_a_usage_error():
    local = type("Local", (Liar,), {})
    with pytest.raises(UsageError, match="can't be sent to workers"):
        Crew([Cell(local(), 1, 0, "train")], [5], 2).__enter__()
