"""What is published was asked for and proven, lies there once, and says on its card what it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools import publish
from ftagent.tools.backends import hf_client
from ftagent.tools.cards import gguf_card, model_card
from ftagent.tools.errors import InputError, ToolError, UserError
from ftagent.tools.facts import Comparison, DatasetRef, Evaluation, GgufFile, GgufProof, ModelRef, Spec
from ftagent.tools.plan import plan_run
from ftagent.tools.publish import Publisher, publisher_for
from ftagent.tools.report import render
from ftagent.tools.run import REPORTS, Run, new_run
from ftagent.tools.settings import Settings, load_settings
from ftagent.tools.trained import Checkpoint
from huggingface_hub import ModelCard

from ..hub import LoopbackHub
from ..hub.faults import Cut, Status

REPO, GGUF_REPO = "tester/tiny-rows-sft", "tester/tiny-rows-sft-GGUF"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A Hub that this process uses, and retries that wait for nothing."""
    monkeypatch.setattr(hf_client, "PAUSES_S", (0.0, 0.0))
    with LoopbackHub(tmp_path / "hub", lfs_from_bytes=512) as running, running.used_here():
        yield running


def _run(folder: Path, *, targets: tuple[str, ...] = ("export", "publish"), **spec: Any) -> Run:
    run = new_run(Settings(workdir=folder))
    ref = ModelRef(id="acme/Tiny", source="hub", path=None, revision="a" * 40, licence="apache-2.0")
    plan = Spec.model_validate(
        {"request": "r", "model": "acme/Tiny", "dataset": "/home/someone/rows.jsonl", "targets": targets}
        | {"model_ref": ref, **spec}
    )
    run = run.record(plan.model_copy(update={"model": "Tiny"}))
    run.journal.settle(folder / REPORTS / "tiny-rows-sft" / run.id)
    checkpoint = run.folder / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "adapter_model.safetensors").write_bytes((2000).to_bytes(8, "little") + b"{}".ljust(2000))
    (checkpoint / "adapter_config.json").write_text('{"base_model_name_or_path": "acme/Tiny"}', encoding="utf-8")
    (run.folder / "gguf").mkdir()
    return run


def _proven(run: Run, quantisation: str = "Q4_K_M") -> Run:
    name = f"tiny-rows-sft-{quantisation}.gguf"
    content = quantisation.encode() * 1000
    (run.folder / "gguf" / name).write_bytes(content)
    (run.folder / "gguf" / name).with_suffix(".Modelfile").write_text(f"FROM ./{name}\n", encoding="utf-8")
    proof = GgufProof(
        loads=True, answer="4", stops_at_eos=True, template_matches=True, special_tokens=True, same_tokens=1.0,
        perplexity=10.5, reference_perplexity=10.0, measured_tokens=99, agreement=0.9,
    )  # fmt: skip
    return run.record(
        GgufFile(
            quantisation=quantisation,
            path=f"gguf/{name}",
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            proof=proof,
        )
    )


def _commits(hub: LoopbackHub) -> int:
    return sum("/commit/" in seen.path for seen in hub.asked("POST", "/api/models/"))


def _checkpoint(run: Run) -> Checkpoint:
    return Checkpoint(folder=run.folder / "checkpoint", is_adapter=True, base="acme/Tiny", revision="a" * 40)


def _publisher(run: Run) -> Publisher:
    found = publisher_for(run)
    assert found is not None
    return found


def test_nothing_is_published_that_nobody_asked_for(hub: LoopbackHub, tmp_path: Path) -> None:
    assert publisher_for(_run(tmp_path, targets=("export",))) is None
    assert not hub.requests


def test_a_file_without_a_recorded_proof_is_not_taken(hub: LoopbackHub, tmp_path: Path) -> None:
    run = _run(tmp_path)
    file = _proven(run).files[0]
    with pytest.raises(ValueError, match="was never proven"):
        _publisher(run).add(run, file)
    assert hub.files("model", REPO) == [".gitattributes", "README.md"]


def test_a_second_call_sends_nothing_that_is_there(hub: LoopbackHub, tmp_path: Path) -> None:
    run = _proven(_run(tmp_path))
    run = _publisher(run).finish(run, _checkpoint(run), run.files)
    sent = _commits(hub)
    assert sent >= 4
    again = _publisher(run).finish(run, _checkpoint(run), run.files)
    assert _commits(hub) == sent
    assert again.published == run.published and len(run.published) == 2
    assert all(published.private for published in run.published)


def test_a_second_quantisation_joins_the_table_of_the_card(hub: LoopbackHub, tmp_path: Path) -> None:
    run = _proven(_run(tmp_path))
    run = _publisher(run).add(run, run.files[0])
    run = _proven(run, "Q8_0")
    run = _publisher(run).add(run, run.files[1])
    card = hub.read("model", GGUF_REPO, "README.md").decode()
    assert "| `tiny-rows-sft-Q4_K_M.gguf` | Q4_K_M | 0.0 MB | 10.5 | +5.00 % | 90.0 % | – |" in card
    assert "| `tiny-rows-sft-Q8_0.gguf` | Q8_0 |" in card and "ollama run hf.co/" + GGUF_REPO + ":Q8_0" in card


def test_what_a_person_wrote_on_a_card_stays_and_is_told(hub: LoopbackHub, tmp_path: Path) -> None:
    run = _proven(_run(tmp_path))
    run = _publisher(run).add(run, run.files[0])
    card = hub.read("model", GGUF_REPO, "README.md").decode()
    edited = card.replace("license: apache-2.0", "license: mit") + "\n## From me\n"
    hub.add_files("model", GGUF_REPO, {"README.md": edited})
    run = _proven(run, "Q8_0")
    run = _publisher(run).add(run, run.files[1])
    card = hub.read("model", GGUF_REPO, "README.md").decode()
    assert "license: mit" in card and card.endswith("\n## From me\n")
    assert "| `tiny-rows-sft-Q8_0.gguf` | Q8_0 |" in card
    assert run.published[-1].kept == "the head of the card"
    assert "a person wrote the head of the card: that stays" in render([run])


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_an_upload_that_is_cut_is_made_once(hub: LoopbackHub, tmp_path: Path, nth: int) -> None:
    run = _proven(_run(tmp_path))
    publisher = _publisher(run)
    fault = hub.faults.on("POST", "/api/models/*/commit/*", Cut(), nth=nth)
    run = publisher.finish(run, _checkpoint(run), run.files)
    assert hub.read("model", GGUF_REPO, "tiny-rows-sft-Q4_K_M.gguf") == b"Q4_K_M" * 1000
    assert {published.kind for published in run.published} == {"gguf", "model"}
    assert fault.fired == 1


def test_a_repository_of_somebody_elses_making_is_left_alone(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.add_repo("model", GGUF_REPO, {"README.md": "---\nlicense: mit\n---\nmine", "own.gguf": b"1" * 999})
    run = _proven(_run(tmp_path))
    with pytest.raises(
        UserError, match=r"exists, and holds 2 files that are not of ftagent's making.*FTAGENT_NAMESPACE"
    ):
        _publisher(run).add(run, run.files[0])
    assert hub.read("model", GGUF_REPO, "README.md").decode().endswith("mine")
    assert hub.files("model", GGUF_REPO) == [".gitattributes", "README.md", "own.gguf"]


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "does not accept the token to create `tester/tiny-rows-sft`"),
        (402, "wants payment before it will create"),
        (403, "the token may not create"),
    ],
)
def test_a_refusal_says_what_to_do_before_any_work(hub: LoopbackHub, tmp_path: Path, status: int, says: str) -> None:
    hub.faults.on("POST", "/api/repos/create", Status(status))
    with pytest.raises(UserError, match=says):
        publisher_for(_run(tmp_path))


def test_another_owners_name_is_refused(hub: LoopbackHub, tmp_path: Path) -> None:
    run = _run(tmp_path)
    run = run.model_copy(update={"settings": run.settings.model_copy(update={"namespace": "strangers"})})
    with pytest.raises((UserError, ToolError), match="strangers/tiny-rows-sft"):
        publisher_for(run)


# --- planning ---------------------------------------------------------------------------------------------------------


def test_without_a_token_nothing_is_planned_for_the_hub(
    hub: LoopbackHub, rows: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instruction = f"fine-tune {tiny_model} on {rows} and publish it"
    spec = plan_run(new_run(load_settings({"backend": "local"})), instruction)
    assert spec.targets == ("export", "publish") and "say `no GGUF`" in spec.inferred["export"]
    assert plan_run(new_run(load_settings()), instruction + ", no gguf").targets == ("publish",)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(InputError, match=r"there is none\. hint: `hf auth login` with the role write"):
        plan_run(new_run(load_settings()), instruction)


# --- cards ------------------------------------------------------------------------------------------------------------


def test_a_model_card_has_the_evaluation_as_model_index(tmp_path: Path) -> None:
    ref = DatasetRef(id="acme/rows", source="hub", revision="b" * 40, loader={}, licence="cc-by-4.0")
    run = _proven(_run(tmp_path, dataset="acme/rows", dataset_ref=ref))
    items = run.folder / "heldout-items.jsonl"
    items.write_text("{}\n", encoding="utf-8")
    comparison = Comparison(
        metric="loss", items=24, higher_is_better=False, base=3.2, tuned=2.4, difference=-0.8, ci95=(-0.9, -0.7),
        test="paired bootstrap", p_value=1e-9, verdict="better", file=items.name,
    )  # fmt: skip
    made_up = comparison.model_copy(update={"metric": "glory", "file": "nowhere.jsonl"})
    sha256 = hashlib.sha256(items.read_bytes()).hexdigest()
    run = run.record(
        Evaluation(
            comparisons=(comparison, made_up), samples=(), items=items.name, checkpoint="checkpoint", seconds=1,
            harness="transformers", files={items.name: sha256}, caveats=("three rows were leaked",),
        )
    )  # fmt: skip
    card = ModelCard(model_card(run, REPO, GGUF_REPO))
    data: Any = card.data
    assert data.license == "apache-2.0" and data.base_model == "acme/Tiny"
    assert data.datasets == ["acme/rows"] and "ftagent" in data.tags
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_value) == ("loss", 2.4)
    assert (result.dataset_type, result.dataset_name) == ("acme/rows", "held-out rows of acme/rows (24 items)")
    quantised: Any = ModelCard(gguf_card(run, GGUF_REPO, REPO)).data
    assert quantised.base_model == REPO and quantised.license == "apache-2.0"
    assert "glory" not in card.content, "a score without its file is not shown"
    assert "- three rows were leaked." in card.text
    assert f"vllm serve acme/Tiny --enable-lora --lora-modules tiny-rows-sft={REPO}" in card.text


def test_cards_name_no_folder_of_this_machine_and_no_request(tmp_path: Path) -> None:
    run = _proven(_run(tmp_path))
    for text in (model_card(run, REPO, GGUF_REPO), gguf_card(run, GGUF_REPO, REPO)):
        assert "/home/someone" not in text and str(tmp_path) not in text
        assert "rows.jsonl" in text


def test_a_config_is_published_without_the_folder_that_it_was_loaded_from(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"_name_or_path": "/home/someone/base", "hidden_size": 4}', encoding="utf-8")
    assert json.loads(publish._without_local_paths(config)) == {"hidden_size": 4}
