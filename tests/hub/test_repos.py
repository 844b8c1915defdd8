from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from .conftest import Client
from .server import LoopbackHub

LARGE = bytes(range(256)) * 64
ROWS = {"train.jsonl": "".join(json.dumps({"text": f"row {n}"}) + "\n" for n in range(30))}


def test_files_of_both_sizes_come_back_as_they_were_sent(hub: LoopbackHub, client: Client) -> None:
    said = client(f"""
        from pathlib import Path
        from huggingface_hub import HfApi, hf_hub_download, snapshot_download
        Path("up/in").mkdir(parents=True)
        Path("up/in/large.bin").write_bytes({LARGE!r})
        Path("up/small.txt").write_text("small")
        api = HfApi()
        api.create_repo("tester/model", private=True)
        api.upload_folder(repo_id="tester/model", folder_path="up")
        down = Path(snapshot_download("tester/model"))
        print(down.joinpath("in/large.bin").read_bytes() == {LARGE!r}, down.joinpath("small.txt").read_text())
    """)
    assert said == "True small"
    entries = hub.store.head(hub.store.get("model", "tester/model"), "main").entries
    assert (entries["in/large.bin"].sha256 is not None, entries["small.txt"].sha256) == (True, None)


def test_what_has_not_changed_is_not_sent_again(hub: LoopbackHub) -> None:
    with hub.used_here() as api:
        api.create_repo("tester/model")
        for _ in range(2):
            api.upload_file(repo_id="tester/model", path_in_repo="large.bin", path_or_fileobj=LARGE)
        assert len(api.list_repo_commits("tester/model")) == 2
    assert len(hub.asked("PUT", "/lfs/")) == 1


def test_an_upload_with_another_content_than_promised_is_refused(hub: LoopbackHub) -> None:
    import httpx

    hub._world.uploads["signature"] = "0" * 64
    answer = httpx.put(f"{hub.endpoint}/lfs/{'0' * 64}?signature=signature", content=b"something else")
    assert answer.status_code == 400
    assert not (hub.store.objects / ("0" * 64)).exists()


def test_a_commit_to_a_branch_that_moved_is_refused(hub: LoopbackHub) -> None:
    with hub.used_here() as api:
        api.create_repo("tester/model")
        first = api.upload_file(repo_id="tester/model", path_in_repo="a", path_or_fileobj=b"1")
        api.upload_file(repo_id="tester/model", path_in_repo="a", path_or_fileobj=b"2")
        with pytest.raises(HfHubHTTPError) as raised:
            api.upload_file(repo_id="tester/model", path_in_repo="a", path_or_fileobj=b"3", parent_commit=first.oid)
    assert raised.value.response.status_code == 412


def test_history_branches_and_tags_lead_to_what_was(hub: LoopbackHub) -> None:
    with hub.used_here() as api:
        api.create_repo("tester/model")
        first = api.upload_file(repo_id="tester/model", path_in_repo="a", path_or_fileobj=b"1")
        api.create_branch("tester/model", branch="try/it", revision=first.oid)
        api.create_tag("tester/model", tag="v1", revision=first.oid)
        api.upload_file(repo_id="tester/model", path_in_repo="b", path_or_fileobj=b"2")
        api.delete_file(path_in_repo="a", repo_id="tester/model")
        for revision in ("try/it", "v1", first.oid):
            assert api.list_repo_files("tester/model", revision=revision) == [".gitattributes", "a"]
        assert api.list_repo_files("tester/model") == [".gitattributes", "b"]
        refs = api.list_repo_refs("tester/model")
        assert [b.name for b in refs.branches] == ["main", "try/it"]
        with pytest.raises(RevisionNotFoundError):
            api.model_info("tester/model", revision="v2")


def test_a_folder_is_listed_flat_or_whole(hub: LoopbackHub) -> None:
    hub.add_repo("dataset", "acme/rows", {"a/b/c.txt": "1", "a/d.txt": "2", "e.txt": "3"})
    with hub.used_here() as api:
        flat = api.list_repo_tree("acme/rows", "a", repo_type="dataset")
        assert sorted(entry.path for entry in flat) == ["a/b", "a/d.txt"]
        whole = api.list_repo_tree("acme/rows", recursive=True, repo_type="dataset")
        assert sorted(entry.path for entry in whole) == [".gitattributes", "a", "a/b", "a/b/c.txt", "a/d.txt", "e.txt"]
        with pytest.raises(EntryNotFoundError):
            list(api.list_repo_tree("acme/rows", "data", repo_type="dataset"))
        told = api.get_paths_info("acme/rows", ["a/d.txt", "no"], repo_type="dataset")
        assert [entry.path for entry in told] == ["a/d.txt"]


def test_a_listing_longer_than_a_page_is_whole(hub: LoopbackHub) -> None:
    hub.add_repo("dataset", "acme/many", {f"{n:04}.txt": "" for n in range(1100)})
    with hub.used_here() as api:
        assert len(api.list_repo_files("acme/many", repo_type="dataset")) == 1101


def test_a_private_repository_does_not_exist_for_strangers(hub: LoopbackHub) -> None:
    hub.add_repo("model", "acme/secret", {"a": "1"}, private=True)
    stranger = hub.people.issue(hub.people.add("stranger"), "write")
    with hub.used_here(stranger) as api:
        with pytest.raises(RepositoryNotFoundError):
            api.model_info("acme/secret")
        with pytest.raises(RepositoryNotFoundError):
            api.hf_hub_download("acme/secret", "a", token=False)
        assert [model.id for model in api.list_models(author="acme")] == []
    with hub.used_here(hub.tokens.read) as api:
        assert [model.id for model in api.list_models(author="acme")] == ["acme/secret"]


def test_a_gated_repository_shows_itself_and_keeps_its_files(hub: LoopbackHub) -> None:
    repo = hub.add_repo("dataset", "other/gated", {"a": "1"}, gated="manual")
    with hub.used_here() as api:
        assert api.dataset_info("other/gated").gated == "manual"
        with pytest.raises(GatedRepoError):
            api.auth_check("other/gated", repo_type="dataset")
        with pytest.raises(GatedRepoError):
            api.hf_hub_download("other/gated", "a", repo_type="dataset")
        repo.granted.append("tester")
        hub.store.save(repo)
        assert Path(api.hf_hub_download("other/gated", "a", repo_type="dataset")).read_text() == "1"


def test_each_role_may_do_what_it_says(hub: LoopbackHub) -> None:
    hub.add_repo("model", "acme/model", {})
    may_write = {"write": True, "read": False, "jobs": True, "no_jobs": True}
    may_run = {"write": True, "read": False, "jobs": True, "no_jobs": False}
    for name in may_write:
        with hub.used_here(getattr(hub.tokens, name)) as api:
            assert _works(lambda api=api: api.auth_check("acme/model", write=True)) is may_write[name]
            assert _works(lambda api=api: list(api.list_jobs(namespace="acme"))) is may_run[name]


def _works(call: object) -> bool:
    assert callable(call)
    try:
        call()
    except HfHubHTTPError as error:
        assert error.response.status_code == 403
        return False
    return True


def test_whoami_tells_the_role_and_its_permissions(hub: LoopbackHub) -> None:
    with hub.used_here(hub.tokens.no_jobs) as api:
        access = api.whoami()["auth"]["accessToken"]
    assert access["role"] == "fineGrained"
    assert {s["entity"]["name"]: s["permissions"] for s in access["fineGrained"]["scoped"]} == {
        "tester": ["repo.write"],
        "acme": ["repo.write"],
    }


def test_a_revoked_token_is_refused_everywhere(hub: LoopbackHub) -> None:
    hub.people.revoke(hub.tokens.write)
    with hub.used_here() as api, pytest.raises(HfHubHTTPError) as raised:
        api.whoami()
    assert raised.value.response.status_code == 401


def test_a_hub_on_the_same_folder_has_the_same_repositories(tmp_path: Path) -> None:
    with LoopbackHub(tmp_path) as first:
        first.add_repo("model", "acme/model", {"a": "1"})
    with LoopbackHub(tmp_path) as second:
        assert second.read("model", "acme/model", "a") == b"1"


def test_datasets_reads_and_streams_and_pushes(hub: LoopbackHub, client: Client) -> None:
    hub.add_repo("dataset", "acme/rows", ROWS, private=True)
    said = client("""
        from datasets import disable_progress_bars, load_dataset
        disable_progress_bars()
        rows = load_dataset("acme/rows", split="train")
        streamed = list(load_dataset("acme/rows", split="train", streaming=True))
        print(len(rows), len(streamed))
        rows.push_to_hub("tester/copy", private=True)
        print(load_dataset("tester/copy", split="train")[29]["text"])
    """)
    assert said == "30 30\nrow 29"
    assert "data/train-00000-of-00001.parquet" in hub.files("dataset", "tester/copy")


def test_transformers_saves_and_loads_a_model(hub: LoopbackHub, client: Client) -> None:
    said = client("""
        from transformers import AutoModelForCausalLM, LlamaConfig
        from huggingface_hub import get_safetensors_metadata, model_info
        config = LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
                             num_attention_heads=2, num_key_value_heads=1)
        model = AutoModelForCausalLM.from_config(config)
        model.push_to_hub("tester/tiny", private=True)
        again = AutoModelForCausalLM.from_pretrained("tester/tiny")
        told = model_info("tester/tiny", expand=["safetensors", "config"])
        header = get_safetensors_metadata("tester/tiny")
        print(again.num_parameters() == told.safetensors.total == sum(header.parameter_count.values()))
        print(told.config["model_type"])
    """)
    assert said == "True\nllama"
    assert any(seen.status == 206 for seen in hub.asked("GET", "/tester/tiny/resolve/main/model.safetensors"))
