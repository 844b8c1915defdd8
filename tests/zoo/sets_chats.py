"""Chats in OpenAI's turns, with what stands beside them and what is broken in them."""

from __future__ import annotations

import json
from typing import Any

from .content import EXCHANGES, NUMBERS, SYSTEM, Turns, assistant, chat, long_chat, system, user
from .zoo_set import ZooSet

FIRST = EXCHANGES[0]


def parts(turns: Turns, **beside: Any) -> Turns:
    """The same turns, with their content as parts."""
    return [{"role": t["role"], "content": [{"type": "text", "text": t["content"], **beside}]} for t in turns]


SETS = (
    ZooSet(
        name="capybara",
        like="trl-lib/Capybara: several answers a chat",
        rows=[{"source": "Airoboros", "messages": long_chat(n), "num_turns": 2} for n in NUMBERS],
        sft="ready",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="one_answer_chats",
        like="OpenAI's fine-tuning files",
        rows=[{"messages": [system(), *chat(n)]} for n in NUMBERS],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="tulu3",
        like="allenai/tulu-3-sft-mixture: long and short chats mixed",
        rows=[
            {"id": f"oasst1_{n}", "messages": long_chat(n) if n % 2 else chat(n), "source": "ai2-adapt-dev/oasst1"}
            for n in NUMBERS
        ],
        sft="ready",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="ultrachat_200k",
        like="HuggingFaceH4/ultrachat_200k: the first question once more as `prompt`",
        rows=[{"prompt": EXCHANGES[n].question, "prompt_id": f"{n:064x}", "messages": long_chat(n)} for n in NUMBERS],
        sft="mapped",
        grpo="ready",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="codeforces_cots",
        like="open-r1/codeforces-cots: the question as `prompt`, the answer as `generation`, and both as `messages`",
        rows=[
            {
                "id": f"852/{n}",
                "title": "Boats",
                "time_limit": 1.0,
                "prompt": EXCHANGES[n].question,
                "generation": EXCHANGES[n].good,
                "finish_reason": "length" if n == 3 else "stop",
                "messages": chat(n),
                "input_mode": None,
            }
            for n in NUMBERS
        ],
        sft="mapped",
        grpo="ready",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="no_robots",
        like="HuggingFaceH4/no_robots",
        rows=[
            {
                "prompt": EXCHANGES[n].question,
                "prompt_id": f"{n:064x}",
                "messages": [system(), *chat(n)] if n % 2 else chat(n),
                "category": "Open QA",
            }
            for n in NUMBERS
        ],
        sft="mapped",
        grpo="ready",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="broken_chats",
        like="chats as users upload them: a question at the end, nulls, blank and missing turns",
        rows=[
            *({"messages": long_chat(n)} for n in NUMBERS),
            {"messages": [*long_chat(0), user("And then?")]},
            {"messages": [user("Hello?"), assistant(None)]},
            {"messages": [user("Hello?"), assistant("  ")]},
            {"messages": []},
            {"messages": None},
        ],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="first_chat_is_empty",
        like="a set whose first row is broken: TRL judges all rows by that one",
        rows=[{"messages": []}, *({"messages": long_chat(n)} for n in NUMBERS)],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="questions_at_the_end",
        like="chats that all end with the user: there is no answer to learn",
        rows=[{"messages": [user(e.question), assistant(e.good), user("And then?")]} for e in EXCHANGES],
        grpo="mapped",
        nonsense={"sft": "every chat ends with a question, and training goes on to it"},
    ),
    ZooSet(
        name="questions_alone",
        like="chats of a single user turn",
        rows=[{"messages": [user(e.question)]} for e in EXCHANGES],
        grpo="mapped",
        nonsense={"sft": "there is no answer: questions would be learned"},
    ),
    ZooSet(
        name="content_in_parts",
        like="OpenAI's content parts; Arrow adds a null `image_url` to each",
        rows=[{"messages": parts(long_chat(n), image_url=None)} for n in NUMBERS],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="chats_in_json_strings",
        like="sets that keep each chat as a JSON string",
        rows=[{"messages": json.dumps(long_chat(n), ensure_ascii=False), "id": n} for n in NUMBERS],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="chats_beside_text",
        like="chats with their flattened text beside them; TRL reads the chats",
        rows=[{"messages": long_chat(n), "text": FIRST.question} for n in NUMBERS],
        sft="ready",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="chats_beside_a_completion",
        like="chats with a `completion` beside them",
        rows=[{"messages": chat(n), "completion": EXCHANGES[n].good} for n in NUMBERS],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="chats_beside_no_image",
        like="collections with a column `image` that is null throughout",
        rows=[{"messages": long_chat(n), "image": None} for n in NUMBERS],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="wildchat",
        like="allenai/WildChat: a `conversation` with moderation in each turn",
        rows=[
            {
                "conversation_hash": f"{n:032x}",
                "model": "gpt-3.5-turbo",
                "timestamp": "2023-04-09T00:02:53",
                "conversation": [t | {"language": "English", "redacted": False, "toxic": False} for t in long_chat(n)],
                "turn": 2,
                "language": "English",
                "openai_moderation": [{"flagged": False, "categories": {"hate": False}}],
            }
            for n in NUMBERS
        ],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="two_chat_columns",
        like="sets with the same chat twice, once with its reasoning",
        rows=[
            {
                "messages": long_chat(n),
                "messages_with_reasoning": [*long_chat(n)[:3], assistant("<think>…</think> So.")],
            }
            for n in NUMBERS
        ],
        sft="ready",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="chats_with_a_system_column",
        like="sets that keep the system prompt in a column of its own",
        rows=[{"system": SYSTEM, "messages": long_chat(n)} for n in NUMBERS],
        sft="mapped",
        grpo="mapped",
        nonsense={"sft": "the system prompt is left out: it stands in a column that TRL does not read"},
        teaches=FIRST.good,
    ),
    ZooSet(
        name="developer_turns",
        like="OpenAI's newer files: `developer` instead of `system`",
        rows=[{"messages": [{"role": "developer", "content": SYSTEM}, *chat(n)]} for n in NUMBERS],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="images_and_messages",
        like="HuggingFaceH4/llava-instruct-mix-vsft: images beside parts",
        rows=[
            {
                "messages": [
                    user([{"type": "image", "text": None}, {"type": "text", "text": e.question}]),
                    assistant([{"type": "text", "text": e.good}]),
                ],
                "images": [f"{n}.png"],
            }
            for n, e in enumerate(EXCHANGES)
        ],
    ),
)
