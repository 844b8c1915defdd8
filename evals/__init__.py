"""Judges the agent: scenarios as data, the worlds in which they happen, and what must hold at their end.

    python -m ftagent.evals                          the built-in planner, all scenarios
    python -m ftagent.evals --llm ID --only vague    any litellm id; `smollm2` serves one here, on llama.cpp
    python -m ftagent.evals --llm ID --plain         the same LLM in smolagents' own loop, without the rails

From a checkout: the worlds are made of what the tests keep, a Hub on this machine and models of two layers.

    scenario.py     what a scenario is, and scenarios/*.yaml, one file a category
    worlds.py       the folder, the Hub and the settings in which one happens; understudy.py stands in for training
    players.py      who acts: ftagent's own loop, or the plain one
    evidence.py     what has happened, as data: journals, reports, files, requests
    judge.py        what should hold; forbidden.py: what must never happen, whatever the scenario
    sweep.py        all of it, one process a scenario
    scoreboard.py   Markdown and JSON; inspect_log.py: the same for `inspect view`
"""
