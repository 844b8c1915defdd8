"""llama.cpp serves as long as somebody asks, and says why when it cannot."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from ftagent.tools.errors import InputError, ToolError
from ftagent.tools.llama_cpp import ask, convert, known_quantisation, serve, step_for
from ftagent.tools.settings import Settings
from ftagent.tools.worker import run_worker

from .taught import Taught, taught

__all__ = ["taught"]

SETTINGS = Settings(python=sys.executable)
QUESTION = [{"role": "user", "content": "What is 7 plus 7?"}]


@pytest.fixture(scope="module")
def gguf(taught: Taught, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The taught model, converted."""
    folder = tmp_path_factory.mktemp("gguf")
    convert(SETTINGS, taught.full, folder / "sums.gguf", "F16", log=folder / "convert.log")
    return folder / "sums.gguf"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/health", timeout=2):
            return True
    except urllib.error.URLError:
        return False


def test_a_served_model_answers_chats_and_plain_text(gguf: Path, tmp_path: Path) -> None:
    with serve(SETTINGS, gguf, log=tmp_path / "serve.log", slots=2) as url:
        chat, text = ask(url, QUESTION, max_tokens=99), ask(url, "It is", max_tokens=5)
        assert _answers(url)
    assert not _answers(url)
    assert chat.text.startswith("It is")
    assert chat.stopped
    assert chat.tokens_per_s and chat.tokens_per_s > 0
    assert text.text


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_no_server_stays_behind_an_exception(interruption: type[BaseException], gguf: Path, tmp_path: Path) -> None:
    urls: list[str] = []
    with pytest.raises(interruption), serve(SETTINGS, gguf, log=tmp_path / "serve.log") as url:
        urls.append(url)
        raise interruption
    assert not _answers(urls[0])


def test_no_server_stays_behind_a_killed_process(
    gguf: Path, tmp_path: Path, until: Callable[[Callable[[], object]], None]
) -> None:
    code = f"""
import time
from importlib.resources import files
from pathlib import Path
from ftagent.tools.llama_cpp import serve
from ftagent.tools.settings import Settings
with serve(Settings(), Path({str(gguf)!r}), log=Path({str(tmp_path / "serve.log")!r})) as url:
    print(url, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert _answers(url)
        process.send_signal(signal.SIGKILL)
    until(lambda: not _answers(url))


def test_a_prompt_longer_than_the_context_is_a_tool_error(gguf: Path, tmp_path: Path) -> None:
    long = [{"role": "user", "content": "What is 7 plus 7? " * 100}]
    with serve(SETTINGS, gguf, log=tmp_path / "serve.log", context=256) as url:
        with pytest.raises(ToolError, match=r"/v1/chat/completions with 400: .*context"):
            ask(url, long, max_tokens=5)
        assert ask(url, QUESTION, max_tokens=5).text


def test_a_file_that_is_no_gguf_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\0" * 100)
    with (
        pytest.raises(ToolError, match=r"could not serve `broken\.gguf`: .*bad GGUF version"),
        serve(SETTINGS, tmp_path / "broken.gguf", log=tmp_path / "serve.log"),
    ):
        pass


def test_a_server_that_does_not_load_in_time_is_ended(gguf: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    with (
        pytest.raises(ToolError, match=r"did not load `sums\.gguf` within 0\.01 s"),
        serve(SETTINGS, gguf, log=tmp_path / "serve.log", timeout_s=0.01),
    ):
        pass
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(("quantisation", "file_type"), [("Q5_K_M", 17), ("Q6_K", 18)])
def test_the_quantiser_writes_what_it_was_asked_for(
    quantisation: str, file_type: int, gguf: Path, tmp_path: Path
) -> None:
    from gguf import GGUFReader

    out = tmp_path / "out.gguf"
    request = {"source": str(gguf), "out": str(out), "ftype": step_for(quantisation)["ftype"], "importance": None}
    run_worker(SETTINGS, "quantise.py", request, log=tmp_path / "quantise.log", timeout_s=60)
    field = GGUFReader(out).get_field("general.file_type")
    assert field is not None and field.contents() == file_type
    assert out.stat().st_size < gguf.stat().st_size


def test_an_unknown_architecture_is_a_tool_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["NobodysModel"]}', encoding="utf-8")
    with pytest.raises(ToolError, match="NobodysModel is not supported"):
        convert(SETTINGS, tmp_path, tmp_path / "out.gguf", "F16", log=tmp_path / "convert.log")


def test_a_converter_from_a_checkout_is_preferred(tmp_path: Path) -> None:
    checkout = tmp_path / "llama.cpp"
    checkout.mkdir()
    (checkout / "convert_hf_to_gguf.py").write_text(
        "import sys, pathlib\npathlib.Path(sys.argv[4]).write_text(' '.join(sys.argv[1:3]))\n", encoding="utf-8"
    )
    settings = SETTINGS.model_copy(update={"llama_cpp": checkout})
    convert(settings, tmp_path, tmp_path / "out.gguf", "Q8_0", log=tmp_path / "convert.log")
    assert (tmp_path / "out.gguf").read_text(encoding="utf-8") == "--outtype q8_0"


def test_quantisations_are_known_by_any_spelling_and_others_are_refused() -> None:
    assert known_quantisation("q4_k_m") == known_quantisation("Q4_K") == "Q4_K_M"
    with pytest.raises(InputError, match=r"`IQ2_XS` is no quantisation that can be made here.* Q4_K_M"):
        known_quantisation("IQ2_XS")


def test_a_converter_that_is_not_the_tested_one_is_not_run(tmp_path: Path) -> None:
    template = Path(str(files("ftagent.tools.templates") / "convert.py")).read_text(encoding="utf-8")
    script = tmp_path / "convert.py"
    known = re.search(r'"0\.1\.1": "(\w+)"', template)
    assert known is not None
    script.write_text(template.replace(known[1], "0" * 64), encoding="utf-8")
    request = tmp_path / "request.json"
    request.write_text('{"model": ".", "out": "x", "type": "f16", "checkout": null}', encoding="utf-8")
    done = subprocess.run([sys.executable, str(script), str(request), "answer"], capture_output=True, text=True)
    assert done.returncode == 1 and "is not the package that was tested: it is not run" in done.stderr
