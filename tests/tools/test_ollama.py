"""A Modelfile says in Go's language what the tokenizer's template says in Jinja's, or says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from ftagent.tools.ollama import go_template, modelfile, serve_lines

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# A begin-of-sequence token, which llama.cpp adds by itself, and a user's turn that says where the answer begins.
LLAMA_2 = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }}</s>{% endif %}{% endfor %}"
)


def test_a_template_is_read_off_what_it_renders() -> None:
    go = go_template(CHATML)
    assert go is not None
    assert go.startswith("{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ else }}{{ end }}")
    assert '{{ if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n{{ else if' in go
    assert go.endswith('{{ if and (ne .Role "assistant") $last }}<|im_start|>assistant\n{{ end }}{{ end }}')


def test_a_begin_token_is_left_to_llama_cpp_and_turns_need_no_end() -> None:
    go = go_template(LLAMA_2)
    assert go is not None and '{{ if eq .Role "user" }}[INST] {{ .Content }} [/INST]{{ else if' in go


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0]['content'] }}",
        CHATML.replace("m['content'] }}", "m['content'] | upper }}"),
        CHATML.replace("m['role'] }}", "m['role'] }}{{ loop.index }}"),
        CHATML + "{{ raise_exception('no') }}",
        CHATML.replace("<|im_end|>", "{{ '{{' }}"),
        "{% for m in messages %}{{ m.__class__.__mro__ }}{% endfor %}",
        "{{ broken",
    ],
)
def test_what_cannot_be_said_in_go_is_left_out_and_said(template: str) -> None:
    assert go_template(template) is None
    assert "\n# No TEMPLATE: " in modelfile("x.gguf", template, ["</s>"])


def test_every_stop_is_a_parameter_of_its_own() -> None:
    text = modelfile("x.gguf", CHATML, ["<|im_end|>", '"quoted"'])
    assert text.endswith('PARAMETER stop "<|im_end|>"\nPARAMETER stop "\\"quoted\\""\n')


def test_the_lines_for_people_survive_spaces_in_paths() -> None:
    lines = serve_lines(Path("my models/Tiny-Q4_K_M.gguf"))
    assert lines == [
        "llama-server -m 'my models/Tiny-Q4_K_M.gguf' --jinja",
        "ollama create tiny-q4_k_m -f 'my models/Tiny-Q4_K_M.Modelfile' && ollama run tiny-q4_k_m",
    ]
