from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest
from ftagent.tools.errors import InputError
from ftagent.tools.models import missing_files, resolve_model, weights_revision
from ftagent.tools.settings import Settings
from huggingface_hub import constants

SHA = "0123456789abcdef0123456789abcdef01234567"


def model_folder(folder: Path, *, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def cached(cache: Path, repo_id: str, *, commit: str = SHA, main: bool = True) -> Path:
    repo = cache / f"models--{repo_id.replace('/', '--')}"
    if main:
        (repo / "refs").mkdir(parents=True, exist_ok=True)
        (repo / "refs" / "main").write_text(commit, encoding="utf-8")
    return model_folder(repo / "snapshots" / commit)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def settings(tmp_path: Path, cache: Path, workdir: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache")


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_is_taken_before_the_hubs_cache(settings: Settings, cache: Path, workdir: Path) -> None:
    cached(cache, "owner/mine")
    model_folder(workdir / "mine")
    found = resolve_model("mine", settings)
    assert (found.source, found.path) == ("folder", str(workdir / "mine"))


def test_a_folder_without_all_shards_is_refused_with_the_missing_ones(settings: Settings, workdir: Path) -> None:
    folder = model_folder(workdir / "sharded")
    shards = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-3.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards), encoding="utf-8")
    (folder / "model-1.safetensors").touch()
    with pytest.raises(InputError, match=r"no whole model: its weights lack model-2.safetensors and 1 more"):
        resolve_model("./sharded", settings)


@pytest.mark.parametrize("lost", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_that_lacks_a_part_is_no_model(tmp_path: Path, lost: str) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / lost).unlink()
    assert missing_files(folder)


def test_a_path_that_does_not_exist_is_not_looked_for_elsewhere(settings: Settings, cache: Path) -> None:
    cached(cache, "owner/mine")
    with pytest.raises(InputError, match=r"there is no folder `\./mine`"):
        resolve_model("./mine", settings)


def test_a_folder_of_reports_with_the_models_name_is_not_taken_for_it(
    settings: Settings, cache: Path, workdir: Path
) -> None:
    (workdir / "mine").mkdir()
    cached(cache, "owner/mine")
    assert resolve_model("mine", settings).source == "cache"


def test_the_licence_comes_from_the_model_card(settings: Settings, workdir: Path) -> None:
    folder = model_folder(workdir / "mine")
    (folder / "README.md").write_text("---\nlicense: mit\ntags: [a]\n---\n# Mine\n", encoding="utf-8")
    assert resolve_model("mine", settings).licence == "mit"
    (folder / "README.md").write_text("---\n: [\n---\n", encoding="utf-8")
    assert resolve_model("mine", settings).licence is None


def test_the_revision_follows_the_weights_and_is_not_computed_twice(settings: Settings, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", weights=b"one")
    first = weights_revision(folder, settings)
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    (folder / "model.safetensors").write_bytes(b"two")
    assert weights_revision(folder, settings) != first

    (folder / "model.safetensors").write_bytes(b"one")
    os.utime(folder / "model.safetensors", ns=(stamp, stamp))
    assert weights_revision(folder, settings) == first
    told: list[str] = []
    weights_revision(folder, settings, lambda _, step: told.append(step))
    assert told == []


def test_a_cache_folder_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = model_folder(tmp_path / "model")
    assert weights_revision(folder, Settings(cache_dir=tmp_path / "file")).startswith("sha256:")


# --- the Hub's cache --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Qwen/Qwen3-0.6B", "qwen/qwen3-0.6b", "Qwen3-0.6B"])
def test_a_cached_model_is_found_by_id_or_bare_name_in_any_case(settings: Settings, cache: Path, name: str) -> None:
    folder = cached(cache, "Qwen/Qwen3-0.6B")
    found = resolve_model(name, settings)
    assert (found.id, found.source, found.revision) == ("Qwen/Qwen3-0.6B", "cache", SHA)
    assert found.path == str(folder)


def test_a_bare_name_with_two_cached_owners_must_be_said_in_full(settings: Settings, cache: Path) -> None:
    cached(cache, "one/model")
    cached(cache, "two/model")
    with pytest.raises(InputError, match="2 models are called `model`: `one/model`, `two/model`"):
        resolve_model("model", settings)


def test_a_half_downloaded_snapshot_is_passed_over(settings: Settings, cache: Path) -> None:
    (cached(cache, "owner/model", commit="f" * 40) / "model.safetensors").unlink()
    whole = cached(cache, "owner/model", commit="a" * 40, main=False)
    assert resolve_model("owner/model", settings).path == str(whole)


# --- the Hub ----------------------------------------------------------------------------------------------------------


class HubHandler(BaseHTTPRequestHandler):
    models = ("Qwen/Qwen3-0.6B", "copier/Qwen3-0.6B", "one/twin", "two/twin")

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/api/models":
            search = parse_qs(url.query)["search"][0].lower()
            self.answer(200, [{"id": id, "tags": []} for id in self.models if search in id.lower()])
        elif (name := url.path.removeprefix("/api/models/")) in self.models:
            self.answer(
                200, {"id": name, "sha": SHA, "cardData": {"license": "apache-2.0"}, "tags": [], "siblings": []}
            )
        else:
            self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})

    def answer(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["Qwen/Qwen3-0.6B", "Qwen3-0.6B", "qwen3-0.6b"])
def test_a_hub_model_is_pinned_to_its_commit_and_copies_by_others_do_not_matter(
    hub: None, settings: Settings, name: str
) -> None:
    found = resolve_model(name, settings)
    assert (found.id, found.source, found.path) == ("Qwen/Qwen3-0.6B", "hub", None)
    assert (found.revision, found.licence) == (SHA, "apache-2.0")


def test_a_bare_name_with_several_unknown_owners_lists_them(hub: None, settings: Settings) -> None:
    with pytest.raises(InputError, match="2 models are called `twin`: `one/twin`, `two/twin`") as refused:
        resolve_model("twin", settings)
    assert refused.value.hint == "name one with its owner: one/twin"


@pytest.mark.parametrize("name", ["nobody/nothing", "nothing", "not a name!"])
def test_a_model_that_the_hub_does_not_know_is_refused(hub: None, settings: Settings, name: str) -> None:
    with pytest.raises(InputError, match="the Hub knows no such model"):
        resolve_model(name, settings)


def test_a_hub_that_swallows_packets_costs_two_seconds_and_no_word(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def swallow(*_: object, **__: object) -> socket.socket:
        time.sleep(20)
        raise AssertionError

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "create_connection", swallow)
    start = time.monotonic()
    with pytest.raises(InputError, match="the Hub cannot be reached"):
        resolve_model("owner/model", settings)
    assert time.monotonic() - start < 2
    assert capfd.readouterr() == ("", "")


def test_a_hub_that_refuses_connections_is_said_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    with pytest.raises(InputError, match="the Hub cannot be reached"):
        resolve_model("owner/model", settings)


def test_offline_the_hub_is_not_asked(settings: Settings) -> None:
    with pytest.raises(InputError, match="HF_HUB_OFFLINE keeps the Hub from being asked"):
        resolve_model("owner/model", settings)


@pytest.mark.parametrize("name", ["", "model\nname", "../../../", "a" * 5000, "a/b/c", "~no such user/x", "\0"])
def test_strange_names_are_refused_in_one_line(settings: Settings, name: str) -> None:
    with pytest.raises(InputError) as refused:
        resolve_model(name, settings)
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 600


def test_a_mistyped_name_gets_the_nearest_known_one(settings: Settings, cache: Path) -> None:
    cached(cache, "Qwen/Qwen3-0.6B")
    with pytest.raises(InputError) as refused:
        resolve_model("Qwen3-0.8B", settings)
    assert refused.value.hint == "did you mean `Qwen/Qwen3-0.6B`?"
