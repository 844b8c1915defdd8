"""A file is the old one or the new one, and a disk that is too small is refused with its numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from ftagent.tools.errors import UserError
from ftagent.tools.files import require_space, write_whole


def test_a_write_that_fails_leaves_the_former_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "report.md"
    write_whole(file, b"old")

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as draft:
            draft.write(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, b"new")
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]


def test_a_disk_without_room_is_refused_even_where_the_folder_is_not_there_yet(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "there", 1)
    with pytest.raises(UserError, match=r"no space is left on .* where this run needs about 1000000000000 MB"):
        require_space(tmp_path / "not" / "there", 1e18)
