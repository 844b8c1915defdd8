"""Chats in ShareGPT's turns, and others whose turns are written in a way of their own."""

from __future__ import annotations

from .content import EXCHANGES, NUMBERS, SYSTEM, assistant, chat, long_chat, shared, system, user
from .zoo_set import ZooSet

FIRST = EXCHANGES[0]
HUMAN_AND_GPT = {"user": "human", "assistant": "gpt"}

SETS = (
    ZooSet(
        name="sharegpt",
        like="ShareGPT: `human` and `gpt`, which TRL passes on as names of roles",
        rows=[{"id": f"QWJhYvA_{n}", "conversations": shared(long_chat(n), **HUMAN_AND_GPT)} for n in NUMBERS],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="openhermes",
        like="teknium/OpenHermes-2.5: mostly null columns",
        rows=[
            {
                "custom_instruction": None,
                "topic": None,
                "model_name": None,
                "skip_prompt_formatting": False,
                "category": "orca" if n % 2 else None,
                "conversations": [t | {"weight": None} for t in shared(chat(n), **HUMAN_AND_GPT)],
                "views": None,
                "language": None,
                "id": None,
                "idx": str(n),
                "hash": None,
                "avatarUrl": None,
                "system_prompt": None,
                "source": "airoboros2.2",
            }
            for n in NUMBERS
        ],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="slimorca",
        like="Open-Orca/SlimOrca: a weight in each turn",
        rows=[
            {
                "conversations": [
                    turn | {"weight": float(turn["from"] == "gpt") if turn["from"] != "system" else None}
                    for turn in shared([system(), *chat(n)], **HUMAN_AND_GPT)
                ]
            }
            for n in NUMBERS
        ],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="openthoughts",
        like="open-thoughts/OpenThoughts-114k: `user` and `assistant` as speakers, the system prompt in a column",
        rows=[{"system": SYSTEM, "conversations": shared(chat(n))} for n in NUMBERS],
        sft="mapped",
        grpo="mapped",
        nonsense={"sft": "the system prompt is left out: it stands in a column that TRL does not read"},
        teaches=FIRST.good,
    ),
    ZooSet(
        name="sharegpt_with_roles_of_openai",
        like="ShareGPT's column with OpenAI's keys",
        rows=[{"conversations": long_chat(n), "source": "web"} for n in NUMBERS],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="sharegpt_of_many_speakers",
        like="raw ShareGPT dumps: odd speakers, gpt first, blank answers",
        rows=[
            *({"id": str(n), "conversations": shared(long_chat(n), user="user", assistant="chatgpt")} for n in NUMBERS),
            {"id": "8", "conversations": shared(long_chat(0), user="human", assistant="bing")},
            {"id": "9", "conversations": [{"from": "gpt", "value": "Hi."}, {"from": "human", "value": "Oh?"}]},
            {"id": "10", "conversations": [{"from": "human", "value": "Hi."}, {"from": "gpt", "value": ""}]},
            {"id": "11", "conversations": []},
        ],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="lima",
        like="GAIR/lima: turns are bare strings that alternate",
        rows=[{"conversations": [t["content"] for t in chat(n)], "source": "stackexchange"} for n in NUMBERS],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="ldjnr_capybara",
        like="LDJnr/Capybara: turns are pairs of `input` and `output`",
        rows=[
            {
                "source": "Dove",
                "conversation": [
                    {"input": EXCHANGES[n].question, "output": EXCHANGES[n].good},
                    {"input": "Are you sure?", "output": "Yes, quite."},
                ],
            }
            for n in NUMBERS
        ],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="llava",
        like="liuhaotian/LLaVA-Instruct-150K: names of image files",
        rows=[
            {
                "id": str(n),
                "image": f"{n:012d}.jpg",
                "conversations": shared([user(f"<image>\n{e.question}"), assistant(e.good)], **HUMAN_AND_GPT),
            }
            for n, e in enumerate(EXCHANGES)
        ],
    ),
)
