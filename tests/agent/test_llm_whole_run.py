"""A scripted LLM plans a whole real run over HTTP: real TRL, Trackio and llama.cpp, on a two-layer model."""

from __future__ import annotations

import re
from pathlib import Path

from ftagent.agent.loop import FineTuneAgent
from ftagent.tools.settings import load_settings

from ..openai_server import openai_server
from ..tools.taught import Taught, taught
from .scripted_llm import STEPS, strong

__all__ = ["taught"]


def test_an_llm_carries_a_real_run_from_the_sentence_to_the_gguf(workdir: Path, taught: Taught, rows: Path) -> None:
    request = f"fine-tune {taught.full} on {rows}, 4 steps, batch size 2, compare it with the base and export as Q8_0"
    with openai_server(strong) as server:
        settings = load_settings({"llm": "openai/scripted", "llm_base_url": server.url, "workdir": workdir})
        result = FineTuneAgent(settings=settings, approve=True).run(request)
    run = result.run
    to_submit = [call.call for call in run.llm_calls].index("submit_job") + 1
    assert to_submit <= 8 and sum(server.prompt_tokens[:to_submit]) <= 25_000  # by GPT-4's tokenizer
    assert [call.prompt_tokens for call in run.llm_calls] == server.prompt_tokens and result.llm_calls == 10
    print(f"to the submitted job: {to_submit} calls, {sum(server.prompt_tokens[:to_submit])} prompt tokens")
    print(f"the whole run: {result.llm_calls} calls, {result.prompt_tokens} prompt tokens")
    assert result.ok and len(server.requests) == len(STEPS) + 1 and run.notes == ()
    assert run.report is not None and run.report.step == 4
    assert run.evaluation is not None and run.evaluation.comparisons[0].items == 4
    assert run.files[0].proof.stops_at_eos and run.files[0].proof.template_matches
    assert result.report is not None
    text = result.report.read_text(encoding="utf-8")
    assert "10 calls of the planner's LLM, " in text
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (result.report.parent / link).exists(), link
