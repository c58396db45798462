"""Chat templates: the text they give and the part of it that is trained."""

from pathlib import Path

import pytest

from studio.core.errors import UserError
from studio.datasets.chat import ChatTemplate, load_chat_template
from studio.datasets.example import Message

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TURNS: list[Message] = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "three"},
    {"role": "assistant", "content": "four"},
]
TOKENS = {"eos_token": "<|im_end|>", "bos_token": "<s>"}


def trained(template: ChatTemplate, turns: list[Message]) -> list[str]:
    segments = template.segments(turns)
    assert "".join(segment.text for segment in segments) == template.render(turns)
    return [segment.text for segment in segments if segment.trained]


def test_that_every_answer_is_trained_up_to_its_end_token() -> None:
    assert trained(ChatTemplate(CHATML, TOKENS), TURNS) == ["two<|im_end|>", "four<|im_end|>"]


def test_that_templates_see_special_tokens_and_the_generation_tag() -> None:
    source = (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
        "{% endgeneration %}{{ eos_token }}{% else %}[{{ m.content }}]{% endif %}{% endfor %}"
    )
    template = ChatTemplate(source, TOKENS)
    assert template.render(TURNS) == "<s>[one]two<|im_end|>[three]four<|im_end|>"
    assert trained(template, TURNS) == ["two<|im_end|>", "four<|im_end|>"]


def test_that_blocks_leave_no_blanks_and_loops_can_be_left() -> None:
    source = "{% for m in messages %}\n  {% if loop.index > 1 %}{% break %}{% endif %}\n{{ m.content }}\n{% endfor %}"
    assert ChatTemplate(source, {}).render(TURNS) == "one\n"


def test_that_json_in_templates_is_not_escaped_for_html() -> None:
    assert ChatTemplate("{{ {'a': '<ä>'} | tojson(indent=None) }}", {}).render([]) == '{"a": "<ä>"}'


def test_that_a_template_that_rewrites_earlier_turns_trains_the_last_answer() -> None:
    forgetful = (
        "{% for m in messages %}[{% if m.role == 'assistant' and not loop.last %}...{% else %}"
        "{{ m.content }}{% endif %}]{% endfor %}"
    )
    assert trained(ChatTemplate(forgetful, {}), TURNS) == ["[four]"]


def test_that_a_template_that_never_continues_its_prompt_is_refused() -> None:
    with pytest.raises(UserError, match="does not continue its own prompt"):
        ChatTemplate("{{ messages | length }}", {}).segments(TURNS)


def test_that_a_template_may_refuse_a_conversation_in_its_own_words() -> None:
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}", {})
    with pytest.raises(UserError, match="roles must alternate"):
        template.render(TURNS)


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({}) }}",
        "{% for i in range(10000000) %}x{% endfor %}",
        "{{ strftime_now.__self__.year }}",
        "{{ messages[9].content.x }}",
        "{{ 1 + 'a' }}",
    ],
)
def test_that_templates_stay_in_their_sandbox(source: str) -> None:
    with pytest.raises(UserError, match="chat template refuses"):
        ChatTemplate(source, {}).render(TURNS)


def test_that_a_broken_template_is_named() -> None:
    with pytest.raises(UserError, match="not valid"):
        ChatTemplate("{% for %}", {})


def test_that_the_template_is_found_in_its_file_or_in_the_config(tmp_path: Path) -> None:
    assert load_chat_template(tmp_path, {}, {}) is None
    for source in ("config", [{"name": "tools", "template": "no"}, {"name": "default", "template": "config"}]):
        template = load_chat_template(tmp_path, {"chat_template": source}, {})
        assert template is not None
        assert template.render([]) == "config"
    (tmp_path / "chat_template.jinja").write_text("file")
    template = load_chat_template(tmp_path, {"chat_template": "config"}, {})
    assert template is not None
    assert template.render([]) == "file"
