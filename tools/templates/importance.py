"""Measure which inputs of a model's weights matter: an importance matrix, as llama.cpp's `llama-imatrix` keeps it.

Reads `model` (a folder), `gguf` (the same model, converted), `rows` (see reference.py), `max_length` and `out`. Writes
a GGUF file that `llama-quantize --imatrix` reads, too: for each weight the sum of the squares of what it is multiplied
with, column by column, and the number of tokens (tools/imatrix/imatrix.cpp of llama.cpp). The sums are taken in
transformers, since no package brings llama.cpp's own tool. Answers with `tokens` and the number of `tensors` that were
measured. Weights that no `Linear` layer holds, such as experts that are kept in one block, are quantised without.
"""

import json
import sys
from pathlib import Path

import torch
from gguf import GGUFWriter, get_tensor_name_map
from gguf.constants import MODEL_ARCH_NAMES
from gguf.gguf_reader import GGUFReader
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.pytorch_utils import Conv1D

OUTPUT = "lm_head"  # like llama-imatrix without --process-output: the output layer is quantised without


class Watched:
    """The inputs of every linear layer, summed up while the model reads."""

    def __init__(self, model) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.tokens: dict[str, int] = {}
        for name, layer in model.named_modules():
            if isinstance(layer, (torch.nn.Linear, Conv1D)) and not name.endswith(OUTPUT):
                layer.register_forward_pre_hook(self._hook(name))

    def _hook(self, name: str):
        def add(_layer, inputs: tuple) -> None:
            rows = inputs[0].detach().reshape(-1, inputs[0].shape[-1]).double()
            self.sums[name] = self.sums.get(name, 0) + rows.square().sum(0)
            self.tokens[name] = self.tokens.get(name, 0) + len(rows)

        return add


def names_in_gguf(gguf: str, layers: int):
    """Return the map from transformers' names of weights to those in this GGUF file, and the names that it has."""
    reader = GGUFReader(gguf)
    field = reader.get_field("general.architecture")
    architecture = next(number for number, name in MODEL_ARCH_NAMES.items() if name == field.contents())
    return get_tensor_name_map(architecture, layers), {tensor.name for tensor in reader.tensors}


def write(out: str, matrix: dict[str, tuple[torch.Tensor, int]], max_length: int) -> None:
    """Write sums and counts as llama.cpp's own tool does."""
    writer = GGUFWriter(out, arch="imatrix", endianess=0)
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["held-out rows"])
    writer.add_uint32("imatrix.chunk_size", max_length)
    writer.add_uint32("imatrix.chunk_count", max(1, max(tokens for _, tokens in matrix.values()) // max_length))
    for name, (sums, tokens) in matrix.items():
        writer.add_tensor(f"{name}.in_sum2", sums.float().numpy().reshape(1, -1))
        writer.add_tensor(f"{name}.counts", torch.tensor([[float(tokens)]]).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@torch.inference_mode()
def main(request: dict) -> dict:
    """Let the model read all rows, and write what went through its layers."""
    tokenizer = AutoTokenizer.from_pretrained(request["model"])
    model = AutoModelForCausalLM.from_pretrained(request["model"], dtype=torch.float32).eval()
    watched = Watched(model)
    for row in request["rows"]:
        chat = "messages" in row
        text = tokenizer.apply_chat_template(row["messages"], tokenize=False) if chat else row["text"]
        tokens = tokenizer(text, add_special_tokens=not chat)["input_ids"][: request["max_length"]]
        model(input_ids=torch.tensor([tokens]), logits_to_keep=1)
    names, there = names_in_gguf(request["gguf"], model.config.get_text_config().num_hidden_layers)
    found = {name: names.get_name(f"{name}.weight", try_suffixes=(".weight",)) for name in watched.sums}
    matrix = {gguf: (watched.sums[name], watched.tokens[name]) for name, gguf in found.items() if gguf in there}
    if not matrix:
        raise SystemExit("no weight of this architecture could be measured: export without an importance matrix")
    write(request["out"], matrix, request["max_length"])
    return {"tensors": len(matrix), "tokens": max(watched.tokens.values())}


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
