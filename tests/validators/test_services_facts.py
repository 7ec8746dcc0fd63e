import pytest

from validators.services.facts import NoFact, backed, claims, fact_text, states, unstated

RESULTS = {
    "c1": {
        "items": [{"name": "pen", "cents": 250}, {"name": "cup", "cents": 1099}],
        "total": 1349,
        "at": "2025-03-04T15:30",
    },
    "c2": [1, 2, 3],
    "c3": {"a/b": True, "none": None},
}


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ({"op": "value", "of": ["c1#/total"]}, "1349"),
        ({"op": "value", "of": ["c1#/total"], "form": "money"}, "13.49"),
        ({"op": "value", "of": ["c1#/at"], "form": "time"}, "15:30"),
        ({"op": "value", "of": ["c1#/at"], "form": "date"}, "2025-03-04"),
        ({"op": "value", "of": ["c1#/items/*/name"]}, "pen, cup"),
        ({"op": "value", "of": ["c1#/items/1/name"]}, "cup"),
        ({"op": "value", "of": ["c3#/a~1b"]}, "true"),
        ({"op": "count", "of": ["c1#/items"]}, "2"),
        ({"op": "count", "of": ["c2#"]}, "3"),
        ({"op": "sum", "of": ["c1#/items/*/cents"], "form": "money"}, "13.49"),
        ({"op": "min", "of": ["c2#/*"]}, "1"),
        ({"op": "max", "of": ["c2#/*"]}, "3"),
        ({"op": "difference", "of": ["c1#/items/0/cents", "c1#/items/1/cents"]}, "849"),
        ({"op": "lowest", "of": ["c1#/items/*"], "by": "cents", "get": "name"}, "pen"),
        ({"op": "highest", "of": ["c1#/items/*"], "by": "cents", "get": "name"}, "cup"),
    ],
)
def test_facts_are_worked_out_of_results(fact, words):
    assert fact_text(fact, RESULTS) == words


@pytest.mark.parametrize(
    ("fact", "says"),
    [
        ({"op": "value", "of": ["c9#/total"]}, "no result of c9"),
        ({"op": "value", "of": ["c1#/nothing"]}, "leads nowhere"),
        ({"op": "value", "of": ["c2#/7"]}, "leads nowhere"),
        ({"op": "value", "of": []}, "nothing to state"),
        ({"op": "value", "of": ["c3#/none"]}, "can't be stated"),
        ({"op": "sum", "of": ["c1#/items/*/name"]}, "needs numbers"),
        ({"op": "difference", "of": ["c2#/*"]}, "of two numbers"),
        ({"op": "lowest", "of": ["c1#/items/*", "c1#/items/0"], "by": "cents", "get": "name"}, "share the lowest"),
        ({"op": "lowest", "of": ["c2#/*"], "by": "cents", "get": "name"}, "no cents to compare by"),
        ({"op": "value", "of": ["c1#/at"], "form": "money"}, "whole number of cents"),
    ],
)
def test_what_does_not_follow_is_no_fact(fact, says):
    with pytest.raises(NoFact, match=says):
        fact_text(fact, RESULTS)


@pytest.mark.parametrize(
    ("text", "words", "does"),
    [
        ("It costs 13.49.", "13.49", True),
        ("It costs 113.49.", "13.49", False),
        ("It costs 13.495", "13.49", False),
        ("There are 3.", "3", True),
        ("There are 3.5", "3", False),
        ("There are 13", "3", False),
        ("At 15:30", "30", False),
        ("Anna came", "Ann", False),
        ("Ann, Bob", "Ann", True),
        ("to a@b.example", "a@b.example", True),
    ],
)
def test_a_text_states_whole_words_only(text, words, does):
    assert states(text, words) is does


@pytest.mark.parametrize(
    ("text", "words", "absent"),
    [
        ("50.00 went, 50.00 are left", ["50.00", "50.00"], ""),
        ("50.00 went and are left", ["50.00", "50.00"], "50.00"),
        ("from Rome to Rome Transit", ["Rome", "Rome Transit"], ""),
        ("to Rome Transit", ["Rome", "Rome Transit"], "Rome"),
    ],
)
def test_each_fact_needs_a_place_of_its_own(text, words, absent):
    assert unstated(text, words) == absent


def test_claims_are_numbers_ids_dates_times_addresses_and_amounts():
    text = "ct_4 (Ann, ann@x.org) paid -94.90 at 10:05 on 2025-03-05, a/b-2.md: 3 words, Wednesday 5 March."
    assert claims(text) == {"ct_4", "ann@x.org", "-94.90", "10:05", "2025-03-05", "a/b-2.md", "3", "--03-05"}


def test_a_moment_backs_its_date_its_time_and_the_date_in_words():
    assert {"2025-03-05", "10:05", "--03-05"} <= backed('{"start":"2025-03-05T10:05"}')
