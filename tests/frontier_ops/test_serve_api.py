from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_ops.serve_api import ApiError, GenerationRequest, parse_request

NAMES = ("model@0123456789ab", "model")
ASK: dict[str, Any] = {"model": "model", "messages": [{"role": "user", "content": "hi"}]}


def parse(**changes: Any) -> GenerationRequest:
    return parse_request(json.dumps(ASK | changes).encode(), NAMES)


def refusal(raw: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse_request(raw, NAMES)
    return caught.value


def test_defaults_are_those_of_the_openai_reference() -> None:
    assert parse() == GenerationRequest(
        messages=[{"role": "user", "content": "hi"}],
        max_tokens=None,
        temperature=1.0,
        top_p=1.0,
        stop=(),
        seed=None,
        stream=False,
        include_usage=False,
        model="model",
    )


def test_every_supported_parameter_is_read() -> None:
    asked = parse(
        max_tokens=3, max_completion_tokens=5, temperature=0, top_p=0.5, stop=["a", "b"], seed=7, n=1, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip

    assert (asked.max_tokens, asked.temperature, asked.top_p, asked.stop) == (5, 0.0, 0.5, ("a", "b"))
    assert (asked.seed, asked.stream, asked.include_usage) == (7, True, True)


def test_sampling_parameters_of_vllm_are_read_under_their_names() -> None:
    asked = parse(
        top_k=5, min_p=0.1, presence_penalty=1, frequency_penalty=-0.5, repetition_penalty=1.2, logit_bias={"7": -100},
        logprobs=True, top_logprobs=3, return_token_ids=True,
    )  # fmt: skip

    assert (asked.top_k, asked.min_p, asked.presence_penalty, asked.frequency_penalty) == (5, 0.1, 1.0, -0.5)
    assert (asked.repetition_penalty, asked.logit_bias, asked.top_logprobs) == (1.2, {7: -100.0}, 3)
    assert asked.return_token_ids is True


@pytest.mark.parametrize(
    ("prompt", "read"), [("hi", "hi"), (["hi"], "hi"), ([1, 2], (1, 2)), ([[1, 2]], (1, 2))]
)  # fmt: skip
def test_a_text_completion_takes_one_prompt_as_text_or_ids(prompt: Any, read: Any) -> None:
    asked = parse_request(json.dumps({"model": "model", "prompt": prompt, "logprobs": 2}).encode(), NAMES, "text")

    assert (asked.prompt, asked.messages, asked.top_logprobs) == (read, [], 2)


@pytest.mark.parametrize("prompt", [None, "", [], ["a", "b"], [1, "a"], [-1], [True], {}])
def test_several_prompts_or_none_are_refused(prompt: Any) -> None:
    with pytest.raises(ApiError) as caught:
        parse_request(json.dumps({"model": "model", "prompt": prompt}).encode(), NAMES, "text")
    assert (caught.value.status, caught.value.param) == (400, "prompt")


def test_text_parts_are_joined_and_one_stop_string_is_a_list_of_one() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]

    asked = parse(messages=[{"role": "user", "content": parts}], stop="\n")

    assert asked.messages == [{"role": "user", "content": "ab"}]
    assert asked.stop == ("\n",)


@pytest.mark.parametrize(
    "harmless",
    [
        {"n": 1}, {"logprobs": False}, {"top_logprobs": 0}, {"top_k": -1},
        {"tools": []}, {"tool_choice": "none"}, {"response_format": {"type": "text"}},
        {"presence_penalty": 0}, {"frequency_penalty": 0.0}, {"logit_bias": {}}, {"user": "u"},
        {"metadata": {"a": "b"}}, {"store": False}, {"tools": None}, {"seed": None}, {"unheard_of": None},
    ],
)  # fmt: skip
def test_values_that_ask_for_nothing_are_taken(harmless: dict[str, Any]) -> None:
    assert parse(**harmless) == parse()


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"n": 2}, "n", "unsupported_parameter"),
        ({"n": True}, "n", "unsupported_parameter"),
        ({"logprobs": "yes"}, "logprobs", "invalid_value"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_value"),
        ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter"),
        ({"tool_choice": "auto"}, "tool_choice", "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
        ({"presence_penalty": 2.5}, "presence_penalty", "invalid_value"),
        ({"frequency_penalty": "0"}, "frequency_penalty", "invalid_value"),
        ({"logit_bias": {"1": 200}}, "logit_bias", None),
        ({"logit_bias": {"a": 2}}, "logit_bias", None),
        ({"top_k": 1.5}, "top_k", "invalid_value"),
        ({"min_p": 2}, "min_p", "invalid_value"),
        ({"repetition_penalty": 0}, "repetition_penalty", "invalid_value"),
        ({"guided_json": {}}, "guided_json", "unknown_parameter"),
        ({"prompt": "hi"}, "prompt", "unknown_parameter"),
        ({"temperatur": 0}, "temperatur", "unknown_parameter"),
        ({"temperature": 2.1}, "temperature", "invalid_value"),
        ({"temperature": -1}, "temperature", "invalid_value"),
        ({"temperature": "0"}, "temperature", "invalid_value"),
        ({"temperature": True}, "temperature", "invalid_value"),
        ({"top_p": 1.5}, "top_p", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_value"),
        ({"seed": 2**70}, "seed", "invalid_value"),
        ({"stop": ""}, "stop", "invalid_value"),
        ({"stop": ["a"] * 5}, "stop", "invalid_value"),
        ({"stop": [1]}, "stop", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_value"),
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
        ({"stream": True, "stream_options": {"x": 1}}, "stream_options.x", None),
        ({"messages": []}, "messages", None),
        ({"messages": "hi"}, "messages", None),
        ({"messages": ["hi"]}, "messages[0]", None),
        ({"messages": [{"role": "user"}]}, "messages[0].content", None),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", None),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]", None),
        ({"messages": [ASK["messages"][0], {"role": "robot", "content": ""}]}, "messages[1].role", None),
        ({"messages": [{"role": ["user"], "content": ""}]}, "messages[0].role", None),
        ({"messages": [{"role": "tool", "content": ""}]}, "messages[0].role", None),
        (
            {"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]},
            "messages[0].tool_calls",
            "unsupported_parameter",
        ),
        ({"model": ""}, "model", "missing_model"),
        ({"model": 5}, "model", "missing_model"),
    ],
)
def test_what_would_change_the_answer_or_makes_no_sense_is_a_400_naming_the_parameter(
    changes: dict[str, Any], param: str, code: str | None
) -> None:
    error = refusal(json.dumps(ASK | changes).encode())

    assert (error.status, error.param, error.code) == (400, param, code)


def test_an_unknown_model_is_a_404_in_the_openai_error_form() -> None:
    error = refusal(json.dumps(ASK | {"model": "gpt"}).encode())

    assert error.status == 404
    assert error.body() == {
        "error": {
            "message": "no model 'gpt' here; known: model, model@0123456789ab",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


def test_a_typo_gets_the_nearest_name() -> None:
    assert "temperature" in refusal(json.dumps(ASK | {"temperatur": 0}).encode()).message


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"5", b"\xff", b'{"model": "\\ud800"}', b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_a_400(raw: bytes) -> None:
    assert refusal(raw).status == 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["model", "messages", "n", "stop", "seed", "tools", "stream", "stream_options", "top_p", "zz"])


@given(st.dictionaries(keys, json_values))
def test_no_json_whatever_gets_anything_but_an_answer_or_a_refusal(changes: dict[str, Any]) -> None:
    try:
        status = 200 if parse_request(json.dumps(ASK | changes).encode(), NAMES) else 0
    except ApiError as error:
        status = error.status

    assert status in (200, 400, 404)
