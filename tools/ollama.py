"""A Modelfile for Ollama: stops, and the chat template in Go's language, where it says the same as the tokenizer's.

Ollama knows some common chat templates by their text and takes an unknown one for none. So what a chat looks like is
read off the tokenizer's own template: it renders marked chats, the text between the marks becomes the Go template, and
that must then render other chats as the tokenizer's does. Where it does not, the Modelfile has no template and says so.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .facts import Published
from .run import Run

SYSTEM, USER, ASSISTANT, SECOND = (
    "\u2402SYSTEM\u2403",
    "\u2402USER\u2403",
    "\u2402ASSISTANT\u2403",
    "\u2402SECOND\u2403",
)


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """What stands around the turns of a chat."""

    default: str
    """Before the first turn, where no system message is given."""
    before_system: str
    after_system: str
    before_user: str
    after_user: str
    before_assistant: str
    after_assistant: str
    generation: str
    """After the last user's turn, where the model goes on."""

    def render(self, chat: list[dict[str, str]]) -> str:
        """Render a chat as the Go template does."""
        system = "".join(turn["content"] for turn in chat if turn["role"] == "system")
        text = f"{self.before_system}{system}{self.after_system}" if system else self.default
        for turn in chat:
            if turn["role"] == "user":
                text += f"{self.before_user}{turn['content']}{self.after_user}"
            elif turn["role"] == "assistant":
                text += f"{self.before_assistant}{turn['content']}{self.after_assistant}"
        return text + self.generation

    def as_go(self) -> str:
        """Return the template in Go's language (https://github.com/ollama/ollama/blob/main/docs/template.md)."""
        return (
            f"{{{{ if .System }}}}{self.before_system}{{{{ .System }}}}{self.after_system}"
            f"{{{{ else }}}}{self.default}{{{{ end }}}}"
            "{{ range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}"
            f'{{{{ if eq .Role "user" }}}}{self.before_user}{{{{ .Content }}}}{self.after_user}'
            f'{{{{ else if eq .Role "assistant" }}}}{self.before_assistant}{{{{ .Content }}}}'
            f"{{{{ if not $last }}}}{self.after_assistant}{{{{ end }}}}{{{{ end }}}}"
            f'{{{{ if and (ne .Role "assistant") $last }}}}{self.generation}{{{{ end }}}}{{{{ end }}}}'
        )


def go_template(template: str) -> str | None:
    """Return a Jinja chat template in Go's language, None where it cannot be said there."""
    from jinja2 import TemplateError

    try:
        pieces = _read_off(template)
        faithful = pieces is not None and all(pieces.render(chat) == _render(template, chat) for chat in _OTHERS)
    except (TemplateError, TypeError, KeyError, ValueError):  # a template that needs more than these chats have
        return None
    if pieces is None or not faithful:
        return None
    go_reads = any("{{" in piece or '"""' in piece for piece in vars(pieces).values())
    return None if go_reads else pieces.as_go()


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


_OTHERS = (
    [_turn("user", "Hello")],
    [_turn("system", "Be brief."), _turn("user", "Hello"), _turn("assistant", "Hi."), _turn("user", "And now?")],
    [_turn("user", "One"), _turn("assistant", "1"), _turn("user", "Two"), _turn("assistant", "2"), _turn("user", "3")],
)


def _read_off(template: str) -> Pieces | None:
    """Render marked chats and return what stands between the marks, None where a mark was changed or lost."""
    chat = [_turn("user", USER), _turn("assistant", ASSISTANT), _turn("user", SECOND)]
    asked, ended = _between(template, chat), _between(template, chat, goes_on=False)
    answered = _between(template, chat[:2], goes_on=False)
    instructed = _between(template, [_turn("system", SYSTEM), *chat[:1]])
    if [len(parts) for parts in (asked, ended, answered, instructed)] != [4, 4, 3, 3]:
        return None
    after_user, after_assistant = ended[-1], answered[-1]
    before_user = asked[2].removeprefix(after_assistant)
    return Pieces(
        default=asked[0].removesuffix(before_user),
        before_system=instructed[0],
        after_system=instructed[1].removesuffix(before_user),
        before_user=before_user,
        after_user=after_user,
        before_assistant=asked[1].removeprefix(after_user),
        after_assistant=after_assistant,
        generation=asked[-1].removeprefix(after_user),
    )


def _between(template: str, chat: list[dict[str, str]], *, goes_on: bool = True) -> list[str]:
    """Return what stands before, between and after the contents of a chat's turns, as far as they are found."""
    rest, parts = _render(template, chat, goes_on=goes_on), []
    for turn in chat:
        before, mark, rest = rest.partition(turn["content"])
        if not mark:
            return []
        parts.append(before)
    return [*parts, rest]


def _render(template: str, chat: list[dict[str, str]], *, goes_on: bool = True) -> str:
    """Render a chat with the template, which came with a model: sandboxed, as transformers does it, without a BOS."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda _: ""
    return environment.from_string(template).render(
        messages=chat, add_generation_prompt=goes_on, bos_token="", eos_token="", tools=None
    )


def _refuse(message: str) -> Any:
    raise ValueError(message)


def modelfile(gguf: str, template: str | None, stops: list[str]) -> str:
    """Return a Modelfile for a GGUF file that lies beside it.

    Args:
        gguf: Its name.
        template: The tokenizer's chat template.
        stops: The texts that end an answer.
    """
    lines = [f"FROM ./{gguf}"]
    if template is not None and (go := go_template(template)) is not None:
        lines.append(f'TEMPLATE """{go}"""')
    else:
        lines.append(
            "# No TEMPLATE: the one in the GGUF file cannot be said in Go's language. Compare the first answers."
        )
    lines += [f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops]
    return "\n".join(lines) + "\n"


def write_modelfile(gguf: Path, template: str | None, stops: list[str]) -> None:
    """Write the Modelfile beside the GGUF file."""
    gguf.with_suffix(".Modelfile").write_text(modelfile(gguf.name, template, stops), encoding="utf-8")


def hub_files(template: str | None, stops: list[str]) -> dict[str, str]:
    """Return what `ollama run hf.co/…` reads beside a GGUF file (https://huggingface.co/docs/hub/ollama), by name."""
    go = go_template(template) if template is not None else None
    return ({"template": go} if go else {}) | {"params": json.dumps({"stop": stops}) + "\n"}


def serve_lines(gguf: Path) -> list[str]:
    """Return the shell lines by which a person talks to the file, in llama.cpp and in Ollama."""
    file, described, name = (
        shlex.quote(str(part)) for part in (gguf, gguf.with_suffix(".Modelfile"), gguf.stem.lower())
    )
    return [f"llama-server -m {file} --jinja", f"ollama create {name} -f {described} && ollama run {name}"]


def hub_lines(run: Run, published: Published) -> list[str]:
    """Return the shell lines by which a person with access talks to what is on the Hub."""
    assert run.spec is not None and run.spec.model_ref is not None
    if published.kind == "gguf":
        names = [file.quantisation for file in run.files]
        return [
            line.format(published.repo_id, name)
            for name in names
            for line in ("llama-server -hf {}:{}", "ollama run hf.co/{}:{}")
        ]
    if "adapter_model.safetensors" not in published.files:
        return [f"vllm serve {published.repo_id}"]
    name = published.repo_id.split("/")[1]
    return [f"vllm serve {run.spec.model_ref.id} --enable-lora --lora-modules {name}={published.repo_id}"]
