"""A real llama.cpp server with SmolLM2-135M behind the loop: transport holds, and rails carry what it cannot plan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ftagent.agent import llm
from ftagent.agent.context import build_messages
from ftagent.agent.loop import FineTuneAgent
from ftagent.agent.toolbox import Toolbox
from ftagent.tools.llama_cpp import convert, serve
from ftagent.tools.run import new_run
from ftagent.tools.settings import load_settings

from .instant import REQUEST, instant_tools

__all__ = ["instant_tools"]


@pytest.fixture(scope="session")
def smollm2_gguf(smollm2: Path) -> Path:
    """SmolLM2-135M-Instruct as Q8_0, made once by llama.cpp's own converter."""
    gguf = smollm2.parent / "SmolLM2-135M-Instruct-Q8_0.gguf"
    if not gguf.exists():
        scratch = gguf.with_suffix(".part")
        convert(load_settings(), smollm2, scratch, "Q8_0", log=gguf.with_suffix(".log"))
        scratch.rename(gguf)
    return gguf


@pytest.fixture(scope="session")
def server(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a llama.cpp server that holds it."""
    log = tmp_path_factory.mktemp("llama.cpp") / "server.log"
    with serve(load_settings(), smollm2_gguf, log=log, context=8192) as url:
        yield f"{url}/v1"


def test_a_call_reaches_llama_cpp_and_comes_back_with_its_tokens_counted(
    workdir: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llm, "MAX_TOKENS_UNKNOWN", 32)
    settings = load_settings({"llm": "openai/smollm2", "llm_base_url": server})
    toolbox = Toolbox(new_run(settings), request=REQUEST)
    reply = llm.connect(settings).generate(build_messages(toolbox, []))
    assert reply.content or reply.tool_calls
    assert reply.token_usage is not None
    assert reply.token_usage.input_tokens > 300 and 0 < reply.token_usage.output_tokens <= 32


@pytest.mark.slow
def test_a_135m_model_in_llama_cpp_is_carried_through_a_dry_run(
    workdir: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llm, "MAX_TOKENS_UNKNOWN", 128)  # it never ends by itself, and its calls are short
    settings = load_settings({"llm": "openai/smollm2", "llm_base_url": server, "workdir": workdir})
    result = FineTuneAgent(settings=settings, dry_run=True).run(REQUEST)
    run = result.run
    assert result.ok and run.preflight is not None and run.preflight.ok
    assert len(run.llm_calls) >= 5
    assert all(call.prompt_tokens > 100 and call.completion_tokens > 0 for call in run.llm_calls)
    assert sum(bool(call.valid) for call in run.llm_calls) > len(run.llm_calls) / 2
