"""Which version of a package is installed here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version(package: str) -> str | None:
    """Return the installed version, without a local part such as `+cpu` that no index serves; None without any.

    Args:
        package: Its name; an extra (`name[extra]`) does not count.
    """
    try:
        return version(package.partition("[")[0]).partition("+")[0]
    except PackageNotFoundError:
        return None
