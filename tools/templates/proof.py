"""Hold a GGUF file against the model that it was made from, in llama.cpp.

Reads `gguf`, `reference` (the answer of reference.py), `questions`, `context` (tokens that one request may have) and
`answer_tokens`. Answers with

- `answer`, `stopped`, `asked`, `template` and `tokens_per_s`, from a real server (xllamacpp)
- `special`: whether each special token of the held-out rows came out as itself; `same_tokens`: the share of rows whose
  tokens are the tokenizer's; both from the server's `/tokenize`
- `perplexity`, and `agreement`: the share of the tokens of the model's own greedy answers that the file, too, holds for
  the likeliest; both from the file's logits (cyllama)
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from cyllama.llama import llama_cpp
from greedy import ask
from openai_client import call
from xllamacpp import CommonParams, Server

TIMEOUT_S = 600

# --- what a server makes of the file ----------------------------------------------------------------------------------


def serve(gguf: str, context: int) -> Server:
    """Load the file, and listen on a free port of this machine alone."""
    parameters = CommonParams()
    parameters.model.path = gguf
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_parallel = 1
    parameters.n_ctx = context
    parameters.use_jinja = True
    parameters.ui = False
    return Server(parameters)


def ask_until_whole(url: str, questions: list, answer_tokens: int) -> dict:
    """Ask one question after the other until an answer is whole, and return the last one with how many were asked."""
    for number, question in enumerate(questions, start=1):  # noqa: B007
        said = ask(url, question, max_tokens=answer_tokens, timeout_s=TIMEOUT_S)
        if said.text and said.stopped:
            break
    return {"answer": said.text, "stopped": said.stopped, "tokens_per_s": said.tokens_per_s, "asked": number}


def tokenised(url: str, reference: dict) -> dict:
    """Compare the file's tokens of each rendered row with the tokenizer's."""
    specials, same, kept = set(reference["special"]), 0, True
    for row in reference["rows"]:
        request = {"content": row["text"], "add_special": row["adds"], "parse_special": True}
        found = call(url, "/tokenize", request, timeout_s=TIMEOUT_S)["tokens"]
        same += found == row["tokens"]
        kept = kept and [t for t in found if t in specials] == [t for t in row["tokens"] if t in specials]
    return {"special": kept, "same_tokens": same / len(reference["rows"])}


# --- what its logits are ----------------------------------------------------------------------------------------------


class Model(llama_cpp.LlamaModel):
    """A model with the size of its vocabulary, which cyllama 0.2.18 reads from here and has left out."""

    @property
    def n_vocab(self) -> int:
        """How many tokens there are."""
        return self.get_vocab().n_vocab


def open_model(gguf: str, longest: int) -> llama_cpp.LlamaContext:
    """Load the file for logits of sequences of up to `longest` tokens."""
    llama_cpp.disable_logging()
    wanted = llama_cpp.LlamaContextParams()
    wanted.n_ctx = wanted.n_batch = wanted.n_ubatch = longest
    return llama_cpp.LlamaContext(Model(gguf, llama_cpp.LlamaModelParams()), wanted)


def logits(context: llama_cpp.LlamaContext, tokens: list[int], first: int = 0):
    """Yield the logits after each token from the `first` to the last but one; llama.cpp keeps no others."""
    context.kv_cache_clear()
    batch = llama_cpp.LlamaBatch(n_tokens=len(tokens), embd=0, n_seq_max=1)
    for position, token in enumerate(tokens):
        batch.add(token, position, [0], position >= first)
    context.decode(batch)
    for position in range(first, len(tokens) - 1):
        yield np.asarray(context.get_logits_ith(position), dtype=np.float32)


def loss(context: llama_cpp.LlamaContext, tokens: list[int]) -> float:
    """Return the sum of negative log likelihoods of all tokens but the first."""
    total = 0.0
    for row, wanted in zip(logits(context, tokens), tokens[1:], strict=True):
        top = float(row.max())
        total += top + math.log(float(np.exp(row - top).sum(dtype=np.float64))) - float(row[wanted])
    return total


def agreeing(context: llama_cpp.LlamaContext, answer: dict) -> list[bool]:
    """Return, for each token of the reference's answer, whether the file would have said it, too."""
    tokens, start = answer["tokens"], answer["start"]
    said = [int(row.argmax()) for row in logits(context, tokens, start - 1)]
    return [a == b for a, b in zip(said, tokens[start:], strict=True)]


def measured(gguf: str, reference: dict) -> dict:
    """Return perplexity on the rows and agreement on the answers, over the reference's own tokens."""
    rows = [row for row in reference["rows"] if len(row["measured"]) > 1]
    sequences = [*(row["measured"] for row in rows), *(answer["tokens"] for answer in reference["answers"])]
    context = open_model(gguf, max(map(len, sequences)))
    nats = [loss(context, row["measured"]) for row in rows]
    same = [agrees for answer in reference["answers"] for agrees in agreeing(context, answer)]
    return {
        "perplexity": math.exp(sum(nats) / reference["count"]),
        "perplexity_error": standard_error(rows, nats),
        "agreement": sum(same) / len(same),
    }


def standard_error(rows: list[dict], nats: list[float]) -> float:
    """Return the standard error of the logarithm of a file's perplexity over the reference's; 0 for a single row.

    Both measured the same rows, so it is that of a ratio of sums (nats lost over tokens) over rows that were drawn:
    Cochran, Sampling Techniques, 1977, section 2.11.
    """
    lost = np.array([file - row["nats"] for file, row in zip(nats, rows, strict=True)])
    tokens = np.array([len(row["measured"]) - 1 for row in rows])
    if len(rows) < 2:
        return 0.0
    residuals = lost - lost.sum() / tokens.sum() * tokens
    return float(np.sqrt(len(rows) / (len(rows) - 1) * (residuals**2).sum()) / tokens.sum())


def main(request: dict) -> dict:
    """Serve the file, ask it, and measure it."""
    reference = json.loads(Path(request["reference"]).read_text(encoding="utf-8"))
    server = serve(request["gguf"], request["context"])
    url = server.listening_address
    said = ask_until_whole(url, request["questions"], request["answer_tokens"])
    found = said | {"template": call(url, "/props")["chat_template"]} | tokenised(url, reference)
    del server
    return found | measured(request["gguf"], reference)


if __name__ == "__main__":
    found = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
