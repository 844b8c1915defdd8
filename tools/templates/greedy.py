"""One greedy question to a model that llama.cpp serves: a chat through its template, plain text as it stands.

ftagent asks with it on this machine, and proof.py wherever it runs: it needs `openai_client.py`, and no package.
"""

from dataclasses import dataclass
from typing import Any

if __package__:
    from .openai_client import ANSWER_TIMEOUT_S, call
else:  # in a job, beside it
    from openai_client import ANSWER_TIMEOUT_S, call


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a served model said, and whether it ended by itself."""

    text: str
    stopped: bool
    tokens_per_s: float | None


def ask(url: str, prompt: list[dict[str, Any]] | str, *, max_tokens: int, timeout_s: float = ANSWER_TIMEOUT_S) -> Reply:
    """Ask once, at temperature 0.

    Raises:
        ServerFailed: The server refuses the prompt, such as one that is longer than its context.
    """
    if isinstance(prompt, str):
        request = {"prompt": prompt, "n_predict": max_tokens, "temperature": 0}
        body = call(url, "/completion", request, timeout_s=timeout_s)
        text, stopped = body["content"], body["stop_type"] == "eos"
    else:
        request = {"messages": prompt, "max_tokens": max_tokens, "temperature": 0}
        body = call(url, "/v1/chat/completions", request, timeout_s=timeout_s)
        choice = body["choices"][0]
        text = choice["message"].get("content") or choice["message"].get("reasoning_content") or ""
        stopped = choice["finish_reason"] == "stop"
    return Reply(text=text.strip(), stopped=stopped, tokens_per_s=body.get("timings", {}).get("predicted_per_second"))
