# %% [markdown]
# # Two small trainings, compared
# Every `# %%` is a cell (VS Code, Jupytext, Spyder). Nothing is printed but what a cell prints itself.

# %%
from ftagent import Event, FineTuneAgent

INSTRUCTION = "fine-tune SmolLM2-135M-Instruct on examples/docstrings.jsonl, compare it with the base model, no export"

# %% [markdown]
# First all that is free: is the data fit to train on, what would it take, does the script run?

# %%
dry = FineTuneAgent(dry_run=True).run(INSTRUCTION).run
assert dry.dataset and dry.hardware and dry.preflight
print(f"{dry.dataset.verdict}: {dry.dataset.rows} rows, {100 * dry.dataset.truncated_share:.0f} % are cut")
print(f"{dry.hardware.adapter} on {dry.hardware.flavor}: {60 * dry.hardware.hours.expected:.0f} min")
print(f"{len(dry.preflight.checks)} checks, {'all green' if dry.preflight.ok else 'not all green'}")

# %% [markdown]
# Then two trainings that differ in one thing. The approval is a function of the quote; each event is data with types.

# %%
agent = FineTuneAgent(approve=lambda quote: quote.reserve_usd == 0)  # this machine costs nothing
events: list[Event] = list(agent.stream(f"{INSTRUCTION}, lora rank 8"))
first = events[0].run
second = agent.run(f"{INSTRUCTION}, lora rank 32").run

# %%
from ftagent.tools.run import find_run  # noqa: E402

print("| run | rank | loss | held-out loss | p | verdict |\n|---|---|---|---|---|---|")
for run in (find_run(agent.settings.workdir, first), second):
    assert run.spec and run.report and run.evaluation
    score = run.evaluation.comparisons[0]
    losses = f"{run.report.first_loss:.2f} → {run.report.last_loss:.2f}"
    scores = f"{score.base:.3f} → {score.tuned:.3f} | {score.p_value:.2g} | {score.verdict}"
    print(f"| {run.id} | {run.spec.overrides.r} | {losses} | {scores} |")
