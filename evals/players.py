"""Who acts in a scenario: ftagent's own loop with any planner, or the same LLM without the rails."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from smolagents import LogLevel, Tool, ToolCallingAgent

from ..agent.llm import connect
from ..agent.loop import FineTuneAgent
from ..agent.signatures import ToolInfo, input_schema, tool_info
from ..agent.toolbox import Toolbox
from ..tools.errors import FtagentError, UserError
from ..tools.facts import LlmCall
from ..tools.journal import Event
from ..tools.run import Run, find_run, new_run
from ..tools.settings import Settings, load_settings
from .evidence import Ended, Witness, ending_of
from .scenario import Act, Ending
from .worlds import Stage

PLAIN_TOOLS = (
    "plan_run",
    "validate_dataset",
    "pick_hardware",
    "write_script",
    "preflight",
    "submit_job",
    "monitor_job",
    "evaluate_model",
    "export_gguf",
)
PLAIN_STEPS = 12


class Player(Protocol):
    """Does what a person asks; whatever has this method is one."""

    def act(self, act: Act, stage: Stage, witness: Witness) -> tuple[Ended, Run | None]:
        """Do one act, and say how it ended and with which run."""
        ...


class RailedPlayer:
    """ftagent as it is.

    Args:
        llm: A litellm id, or `builtin`.
        llm_base_url: Of an OpenAI-compatible server.
    """

    def __init__(self, llm: str = "builtin", llm_base_url: str | None = None) -> None:
        self.flags = {"llm": llm, "llm_base_url": llm_base_url}

    def act(self, act: Act, stage: Stage, witness: Witness) -> tuple[Ended, Run | None]:
        """Run the instruction, or go on with the newest run."""
        settings = settings_of(act, stage, self.flags)
        decide = True if act.approve else (lambda _: False) if act.approve is False else None
        seen = _Seen(witness)
        agent = FineTuneAgent(settings=settings, approve=decide, dry_run=act.dry_run, listeners=[seen])
        try:
            result = agent.resume() if act.resume else agent.run(act.run or "")
        except Exception as error:  # noqa: BLE001  whatever it is: the judge says what it is worth
            return ending_of(error), _left(stage, seen.run_id)
        ending: Ending = result.run.ended.status if result.run.ended else "crashed"
        return Ended(ending=ending, said=result.answer), result.run


class PlainPlayer:
    """smolagents' loop as it comes: all tools at once, its own prompt, nothing repaired and nobody who takes over.

    The tools are the same, and so are their gates.

    Args:
        llm: A litellm id.
        llm_base_url: Of an OpenAI-compatible server.
    """

    def __init__(self, llm: str, llm_base_url: str | None = None) -> None:
        self.flags = {"llm": llm, "llm_base_url": llm_base_url}

    def act(self, act: Act, stage: Stage, witness: Witness) -> tuple[Ended, Run | None]:
        """Give the instruction to the loop, and look how far the run got."""
        run = new_run(settings_of(act, stage, self.flags))
        run.journal.listeners = [witness]
        decide = True if act.approve else (lambda _: False) if act.approve is False else None
        toolbox = Toolbox(run, request=act.run, decide=decide, dry_run=act.dry_run)
        tools: list[Tool] = [PlainTool(tool_info(name), toolbox) for name in PLAIN_TOOLS]
        model = connect(run.settings)
        agent = ToolCallingAgent(tools=tools, model=model, max_steps=PLAIN_STEPS, verbosity_level=LogLevel.OFF)
        try:
            said = str(agent.run(act.run or "go on"))
        except Exception as error:  # noqa: BLE001  as above
            return ending_of(error), toolbox.run
        finally:
            for step in agent.memory.steps:
                if usage := getattr(step, "token_usage", None):
                    call = LlmCall(
                        model=str(model.model_id),
                        prompt_tokens=usage.input_tokens,
                        completion_tokens=usage.output_tokens,
                        cost_usd=None,
                    )
                    toolbox.run = toolbox.run.record(call)
            toolbox.run.journal.release()
        return Ended(ending=_how_far(toolbox), said=said), toolbox.run


class PlainTool(Tool):
    """A tool as smolagents calls it by itself."""

    skip_forward_signature_validation = True
    output_type = "string"

    def __init__(self, info: ToolInfo, toolbox: Toolbox) -> None:
        inputs = {n: entry for n, entry in input_schema(info).items() if n not in ("request", "offline")}
        self.name, self.description, self.inputs = info.name, info.description, inputs
        self.toolbox = toolbox
        super().__init__()

    def forward(self, **arguments: Any) -> Any:
        """Call it through the toolbox, which holds the gates and the approval."""
        return self.toolbox.call(self.name, arguments)


def _how_far(toolbox: Toolbox) -> Ending:
    """Return how a run stands that was left where it is."""
    if toolbox.expected() is not None or toolbox.run.spec is None:
        return "failed"
    return "dry_run" if toolbox.dry_run else "completed"


def settings_of(act: Act, stage: Stage, flags: dict[str, Any]) -> Settings:
    """Return the settings of one act."""
    return load_settings({**stage.settings(), **flags, "backend": act.backend, "max_cost_usd": act.max_cost})


class _Seen:
    """A listener that remembers whose events it hears."""

    def __init__(self, witness: Witness) -> None:
        self.witness, self.run_id = witness, None

    def __call__(self, event: Event) -> None:
        self.run_id = event.run
        self.witness(event)


def _left(stage: Stage, run_id: str | None) -> Run | None:
    """Return the run that an error has left on disk, if any."""
    try:
        return find_run(stage.work, run_id) if run_id else None
    except FtagentError:
        return None


def edit(act: Act, stage: Stage) -> None:
    """Add a line to a file of the newest run, or of the working folder.

    Raises:
        UserError: It is in neither: the planner has not come so far.
    """
    assert act.edit is not None
    file = Path(stage.work, act.edit)
    if not file.exists():
        file = find_run(stage.work, None).folder / act.edit
    if not file.exists():
        raise UserError(f"there is no `{act.edit}` to edit.")
    with file.open("a", encoding="utf-8") as stream:
        stream.write(file.read_text(encoding="utf-8").splitlines()[0] + "\n" if file.suffix == ".jsonl" else "pass\n")
