"""Default < file < environment < flag, and every value knows where it came from."""

from __future__ import annotations

from pathlib import Path

import pytest
from ftagent.tools.errors import UserError
from ftagent.tools.settings import load_settings


def _file(tmp_path: Path, text: str) -> dict[str, str]:
    (tmp_path / "ftagent").mkdir()
    (tmp_path / "ftagent" / "config.toml").write_text(text, encoding="utf-8")
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    environ = _file(tmp_path, 'llm = "from/file"\nbackend = "local"\nmax_cost_usd = 1.5')
    settings = load_settings({"llm": "from/flag"}, environ=environ | {"FTAGENT_LLM": "x", "FTAGENT_MAX_COST_USD": "3"})
    assert (settings.llm, settings.max_cost_usd, settings.backend) == ("from/flag", 3.0, "local")
    assert settings.origins == {"llm": "flag", "max_cost_usd": "environment", "backend": "file"}


def test_an_unusable_value_names_where_it_came_from(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="FTAGENT_BACKEND"):
        load_settings(environ={"FTAGENT_BACKEND": "moon"})
    with pytest.raises(UserError, match="--max-cost-usd"):
        load_settings({"max_cost_usd": "much"}, environ={})
    with pytest.raises(UserError, match="is not TOML"):
        load_settings(environ=_file(tmp_path, "llm = "))


def test_the_cache_follows_xdg(tmp_path: Path) -> None:
    assert load_settings(environ={"XDG_CACHE_HOME": str(tmp_path)}).cache_dir == tmp_path / "ftagent"
