"""How this Hub refuses: a status, a sentence, and the code by which `huggingface_hub` tells its exceptions apart."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request
from starlette.responses import JSONResponse

Code = Literal["RepoNotFound", "RevisionNotFound", "EntryNotFound", "GatedRepo"]


class HubError(Exception):
    """A refusal that goes to the client.

    Args:
        status: The HTTP status.
        message: One sentence for people; the client shows it as the server's message.
        code: The header `X-Error-Code`, where the client makes its own exception of it.
        headers: Anything else that the client looks at.
    """

    def __init__(
        self, status: int, message: str, *, code: Code | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})
        if code:
            self.headers["X-Error-Code"] = code


async def answer(_: Request, error: Exception) -> JSONResponse:
    """Send a refusal in the Hub's form."""
    assert isinstance(error, HubError)
    headers = {**error.headers, "X-Error-Message": error.message.encode("ascii", "replace").decode()}
    return JSONResponse({"error": error.message}, status_code=error.status, headers=headers)
