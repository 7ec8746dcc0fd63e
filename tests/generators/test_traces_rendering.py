"""Traces through transformers' own template machinery, with a template shaped as those of tool-calling models are."""

import pytest

from generators.traces.tool_use import GENERATOR

TEMPLATE = """
{%- if tools %}<|im_start|>system
{% if messages[0].role == 'system' %}{{ messages[0].content + '\n\n' }}{% endif %}# Tools
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}
    {%- if message.content is string %}{% set content = message.content %}{% else %}{% set content = '' %}{% endif %}
    {%- if message.role == 'user' %}<|im_start|>user
{{ content }}<|im_end|>
{% elif message.role == 'assistant' %}<|im_start|>assistant
{{ content }}
        {%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments }}}
</tool_call>
        {%- endfor %}<|im_end|>
{% elif message.role == 'tool' %}
        {%- if messages[loop.index0 - 1].role != 'tool' %}<|im_start|>user{% endif %}
<tool_response>
{{ content }}
</tool_response>
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}<|im_end|>
{% endif %}
    {%- elif message.role != 'system' or not loop.first %}{{ raise_exception('unexpected role ' + message.role) }}
    {%- endif %}
{%- endfor %}
"""


@pytest.mark.torch
def test_every_trace_renders_with_all_its_calls_and_results():
    pytest.importorskip("transformers")
    from transformers.utils.chat_template_utils import render_jinja_template

    for level in GENERATOR.levels:
        for index in range(40):
            record = GENERATOR.sample(4, index, level)
            [[text], _] = render_jinja_template([record["messages"]], tools=record["tools"], chat_template=TEMPLATE)
            for message in record["messages"]:
                assert (message["content"] or "") in text
                for call in message.get("tool_calls", ()):
                    assert call["function"]["arguments"] in text
            assert text.count("<tool_response>") == sum(len(turn) for turn in record["expect"]["calls"])
