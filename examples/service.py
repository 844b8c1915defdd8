"""ftagent as a web service: a request starts a run, its events come as server-sent events, its quote awaits an answer.

    pip install 'ftagent[local,demo]' fastapi uvicorn
    python examples/service.py

    curl localhost:8000/runs --json '{"instruction": "fine-tune SmolLM2-135M-Instruct on examples/docstrings.jsonl"}'
    curl -N localhost:8000/runs/1/events                  # from the first event on, then live
    curl localhost:8000/runs/1/approval --json '{"approved": true}'
    curl -X DELETE localhost:8000/runs/1                  # ends the run and its job

It listens on this machine only and asks nobody who they are: whoever reaches it may spend.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from ftagent import FineTuneAgent, FtagentError
from pydantic import BaseModel


class Request(BaseModel):
    """What a client asks for."""

    instruction: str
    dry_run: bool = False
    max_cost: float | None = None


class Answer(BaseModel):
    """What a person says to a quote."""

    approved: bool


class Served:
    """One run: what it told so far, and the quote that waits for an answer."""

    def __init__(self, request: Request) -> None:
        self.agent = FineTuneAgent(
            approve=self._decide,
            dry_run=request.dry_run,
            max_cost=request.max_cost,
            workdir=os.environ.get("FTAGENT_WORKDIR"),
        )
        self.messages: list[str] = []
        self.is_over = False
        self._news = asyncio.Condition()
        self.answer: asyncio.Future[bool] | None = None
        self.task = asyncio.create_task(self._work(request.instruction))

    async def _work(self, instruction: str) -> None:
        try:
            async for event in self.agent.astream(instruction):
                await self._say(event.kind, event.model_dump_json())
        except FtagentError:
            pass  # its last event was an `error` with code, message and hint
        finally:
            await self._say("end", "{}")

    async def _say(self, kind: str, data: str) -> None:
        async with self._news:
            self.messages.append(f"id: {len(self.messages)}\nevent: {kind}\ndata: {data}\n\n")
            self.is_over = kind == "end"
            self._news.notify_all()

    async def _decide(self, quote: Any) -> bool:
        self.answer = asyncio.get_running_loop().create_future()
        await self._say("quote", quote.model_dump_json())
        try:
            return await self.answer
        finally:
            self.answer = None

    async def stream(self, start: int) -> AsyncIterator[str]:
        """Yield every message from number `start` on; a client that leaves does not end the run."""
        start = min(start, len(self.messages))
        while start < len(self.messages) or not self.is_over:
            async with self._news:
                while start == len(self.messages):
                    await self._news.wait()
            yield self.messages[start]
            start += 1


app = FastAPI(title="ftagent")
runs: dict[int, Served] = {}


def _find(number: int) -> Served:
    if number not in runs:
        raise HTTPException(404, f"there is no run {number}")
    return runs[number]


@app.post("/runs")
async def start_run(request: Request) -> dict[str, int]:
    """Start a run and return its number here."""
    number = len(runs) + 1
    runs[number] = Served(request)
    return {"run": number}


@app.get("/runs/{number}/events")
async def events(number: int, start: int = 0) -> StreamingResponse:
    """Stream a run's events, from number `start` on."""
    return StreamingResponse(_find(number).stream(start), media_type="text/event-stream")


@app.post("/runs/{number}/approval")
async def approve(number: int, answer: Answer) -> dict[str, bool]:
    """Answer the quote that waits."""
    waiting = _find(number).answer
    if waiting is None or waiting.done():
        raise HTTPException(409, "no quote waits for an answer")
    waiting.set_result(answer.approved)
    return {"approved": answer.approved}


@app.delete("/runs/{number}")
async def cancel(number: int) -> dict[str, bool]:
    """End a run and its job; its stream tells how it ended."""
    served = _find(number)
    served.agent.cancel()
    await served.task
    return {"cancelled": True}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=8000)
