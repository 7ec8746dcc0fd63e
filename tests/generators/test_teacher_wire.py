import sys
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest

from frontier_core.errors import ConfigError, DataError, ServiceDecodeError, UsageError
from generators.teachers.journal import Journal, body_digest
from generators.teachers.journal import request_key as key_of_digest
from generators.teachers.ledger import Estimator, Ledger, Price, chosen_price, read_price, rough_tokens
from generators.teachers.wire import (
    AnthropicWire,
    OpenAIWire,
    Reply,
    error_text,
    is_strict,
    parse_teacher,
    sampling_of,
)

sys.path.insert(0, str(Path(__file__).parent.parent / "fakes"))
from llm_wire import Anthropic, OpenAI

TURNS = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def request_key(body, sample):
    return key_of_digest(body_digest(body), sample)


REPLY = Reply(text="x", response_id="r", model="m", finish="stop", tokens_in=10, tokens_out=5)


@pytest.mark.parametrize(
    ("text", "model", "url"),
    [
        ("openai:m@http://h:1", "m", "http://h:1/v1/chat/completions"),
        ("openai:m@http://h:1/v1/", "m", "http://h:1/v1/chat/completions"),
        ("openai:a/b:7b@https://h/api/v1", "a/b:7b", "https://h/api/v1/chat/completions"),
        ("openai:gpt-x", "gpt-x", "https://api.openai.com/v1/chat/completions"),
        ("anthropic:c@http://h/v1", "c", "http://h/v1/messages"),
        ("anthropic:c", "c", "https://api.anthropic.com/v1/messages"),
    ],
)
def test_a_teacher_is_kind_model_and_address(text, model, url):
    teacher = parse_teacher(text)
    assert (teacher.model, teacher.wire.url) == (model, url)


@pytest.mark.parametrize(
    "text",
    ["", "openai", "openai:", "opnai:m", "openai:m@http://u:secret@h", "openai:m@http://", "openai:m@http://h:x"],
)
def test_a_wrong_teacher_is_a_usage_error_that_shows_no_password(text):
    with pytest.raises(UsageError) as error:
        parse_teacher(text)
    assert "secret" not in error.value.message


def test_bodies_are_what_the_apis_take():
    sampling = sampling_of(["seed=1", "stop=END"], max_tokens=9, temperature=0.5)
    body = OpenAIWire("http://h").body("m", TURNS, sampling, SCHEMA)
    assert body["max_tokens"] == 9
    assert (body["temperature"], body["seed"], body["stop"]) == (0.5, 1, "END")
    assert body["response_format"]["json_schema"]["strict"] is True
    OpenAI.check(body)
    assert "max_completion_tokens" in OpenAIWire().body("m", TURNS, sampling, None)
    body = AnthropicWire().body("m", TURNS, sampling, SCHEMA)
    assert (body["system"], body["messages"]) == ("be brief", TURNS[1:])
    Anthropic.check(body)


def test_params_that_have_their_own_place_are_refused():
    for text in ("model=x", "stream=true", "seed"):
        with pytest.raises(UsageError):
            sampling_of([text], max_tokens=1)


def test_only_closed_schemas_with_all_keys_required_are_strict():
    assert is_strict(SCHEMA)
    assert not is_strict({**SCHEMA, "required": []})
    assert not is_strict({"type": "array", "items": {"type": "object", "properties": {}}})


@pytest.mark.parametrize("document", [None, [], {}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": 7}]}])
def test_a_broken_openai_answer_is_a_decode_error(document):
    with pytest.raises(ServiceDecodeError):
        OpenAIWire().reply(document)


@pytest.mark.parametrize("document", [None, {}, {"content": 7}, {"content": [{"type": "text"}]}])
def test_a_broken_anthropic_answer_is_a_decode_error(document):
    with pytest.raises(ServiceDecodeError):
        AnthropicWire().reply(document)


def test_answers_without_usage_refusals_and_thinking_are_read():
    bare = OpenAIWire().reply({"choices": [{"message": {"content": None, "refusal": "no"}, "finish_reason": "stop"}]})
    assert (bare.text, bare.finish, bare.tokens_in) == ("no", "refusal", 0)
    blocks = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}]
    usage = {"input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": 3}
    answer = AnthropicWire().reply({"content": blocks, "stop_reason": "max_tokens", "usage": usage})
    assert (answer.text, answer.finish, answer.tokens_in, answer.tokens_out) == ("yes", "length", 3, 3)


def test_error_texts_are_found_in_every_form():
    assert error_text({"error": {"message": "a"}}) == "a"
    assert error_text({"type": "error", "error": {"type": "x", "error": {"message": "b"}}}) == "b"
    assert error_text({"error": "c"}) == "c"
    assert error_text("nonsense") == ""


def test_retry_after_is_read_in_seconds_and_as_a_date():
    from generators.teachers.client import retry_after_s

    now = 1_700_000_000
    date = format_datetime(datetime.fromtimestamp(now + 30, UTC), usegmt=True)
    assert retry_after_s({"retry-after": "2.5"}, now) == 2.5
    assert retry_after_s({"retry-after": date}, now) == 30
    assert retry_after_s({"retry-after": date}, now + 99) == 0
    assert retry_after_s({"retry-after-ms": "1500"}, now) == 1.5
    assert retry_after_s({"retry-after": "86400"}, now) == 600
    assert retry_after_s({"retry-after": "soon"}, now) is retry_after_s({}, now) is None


def test_a_key_depends_on_content_and_sample_not_on_key_order():
    assert request_key({"a": 1, "b": 2}, 0) == request_key({"b": 2, "a": 1}, 0)
    assert len({request_key({"a": 1}, 0), request_key({"a": 1}, 1), request_key({"a": 2}, 0)}) == 3


def test_a_journal_gives_back_what_was_filed(tmp_path):
    path = tmp_path / "j.jsonl"
    key = request_key({}, 0)
    with Journal(path) as journal:
        journal.add(key, REPLY)
        assert journal.find(key) == REPLY
        assert path.read_bytes() == b""
        journal.flush()
        assert journal.find(key) == REPLY
    with Journal(path) as again:
        assert (again.find(key), again.find("00" * 16)) == (REPLY, None)
        assert (again.num_loaded, again.tokens_in, again.tokens_out) == (1, 10, 5)


def test_a_torn_tail_is_cut_off_and_the_rest_kept(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        for n in range(3):
            journal.add(request_key({}, n), REPLY)
    whole = path.read_bytes()
    for cut in range(1, len(whole) // 3):
        path.write_bytes(whole[:-cut])
        with Journal(path, is_read_only=True) as journal:
            assert journal.num_loaded == 2
        assert path.read_bytes() == whole[:-cut]
        with Journal(path) as journal:
            assert journal.num_loaded == 2
            journal.add(request_key({}, 2), REPLY)
        assert path.read_bytes() == whole


def test_a_journal_is_one_run_s_and_nothing_else_s(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path), pytest.raises(UsageError, match="another run is writing it"):
        Journal(path)
    path.write_text('{"messages":[]}\n')
    with pytest.raises(DataError, match=r"j.jsonl:1: not a journal line"):
        Journal(path)


def test_a_budget_counts_what_is_on_its_way():
    ledger = Ledger(price=Price(tokens_in=1.0, tokens_out=2.0), budget_usd=0.001)
    assert ledger.fits(500, 200)
    ledger.reserve(500, 200)
    assert not ledger.fits(200, 0)
    ledger.release(500, 200)
    ledger.pay(REPLY)
    assert ledger.usd == pytest.approx(20e-6)
    assert ledger.fits(580, 200)
    assert not ledger.fits(581, 200)


def test_without_a_price_tokens_are_counted_and_a_budget_is_refused(tmp_path):
    ledger = Ledger(max_tokens=100)
    ledger.pay(REPLY)
    assert ledger.usd is None
    assert "usd" not in ledger.report()
    assert ledger.fits(80, 5)
    assert not ledger.fits(80, 6)
    with pytest.raises(ConfigError, match="needs the model's price"):
        Ledger(budget_usd=1.0)


def test_prices_come_from_numbers_or_a_file(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("m: {in: 0.15, out: 0.6}\nbad: {in: 1}\ntypo: {inn: 1, out: 2}\n")
    assert read_price(str(path), "m") == Price(tokens_in=0.15, tokens_out=0.6)
    assert read_price(str(path), "unknown") is None
    assert chosen_price("m", str(path), 1.0, 2.0) == Price(tokens_in=1.0, tokens_out=2.0)
    for model in ("bad", "typo"):
        with pytest.raises(ConfigError, match=model):
            read_price(str(path), model)
    with pytest.raises(ConfigError, match="two parts"):
        chosen_price("m", "", 1.0, None)


def test_an_estimate_is_rough_first_and_measured_after():
    estimator = Estimator(rough_tokens, 100.0)
    guess = estimator.guess_in([{"role": "user", "content": "one two three four five six"}])
    assert estimator.tokens(guess) == (10.0, 100.0)
    for _ in range(10):
        estimator.learn(guess, REPLY._replace(tokens_in=20, tokens_out=40))
    assert estimator.tokens(guess) == (20.0, 40.0)
    estimator.learn(guess, REPLY._replace(tokens_in=0, tokens_out=0))
    assert estimator.num_replies == 10
