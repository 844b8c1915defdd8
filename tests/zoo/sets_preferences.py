"""Pairs of a better and a worse answer, under the names and in the forms that they have."""

from __future__ import annotations

from .content import EXCHANGES, SYSTEM, Exchange, Turns, assistant, shared, system, user
from .zoo_set import ZooSet

NO_PROMPT = "the two answers have no beginning in common: there is no prompt, and each is compared from its first token"
NO_QUESTION = "the question is left out: it stands in a column that TRL does not read"
NO_SYSTEM = "the system prompt is left out: it stands in a column that TRL does not read"
BEGUN_ALIKE = "where two answers begin alike, TRL takes their beginning for the prompt's end and does not train on it"


def good(e: Exchange) -> Turns:
    """The question and its good answer."""
    return [user(e.question), assistant(e.good)]


def bad(e: Exchange) -> Turns:
    """The question and its bad answer."""
    return [user(e.question), assistant(e.bad)]


def transcript(e: Exchange, answer: str) -> str:
    """A chat as one string, in the way of hh-rlhf."""
    return f"\n\nHuman: Hello.\n\nAssistant: Hi.\n\nHuman: {e.question}\n\nAssistant: {answer}"


SETS = (
    ZooSet(
        name="pairs_with_prompts",
        like="jondurbin/py-dpo-v0.1: plain text",
        rows=[
            {"prompt": e.question, "chosen": e.good, "rejected": e.bad, "id": f"{n}"} for n, e in enumerate(EXCHANGES)
        ],
        dpo="ready",
        kto="ready",
        grpo="ready",
        reward="ready",
    ),
    ZooSet(
        name="pairs_with_prompts_in_turns",
        like="TRL's explicit preference format, as turns",
        rows=[
            {"prompt": [user(e.question)], "chosen": [assistant(e.good)], "rejected": [assistant(e.bad)]}
            for e in EXCHANGES
        ],
        dpo="ready",
        kto="ready",
        grpo="ready",
        reward="ready",
    ),
    ZooSet(
        name="trl_ultrafeedback",
        like="trl-lib/ultrafeedback_binarized: the prompt within both answers",
        rows=[{"chosen": good(e), "rejected": bad(e), "score_chosen": 8.0, "score_rejected": 3.5} for e in EXCHANGES],
        dpo="ready",
        kto="ready",
        grpo="mapped",
        reward="ready",
    ),
    ZooSet(
        name="dpo_mix_7k",
        like="argilla/dpo-mix-7k: a system turn and several questions before the answers part",
        rows=[
            {
                "dataset": "argilla/distilabel-capybara-dpo",
                "chosen": [system(), *good(EXCHANGES[0]), *good(e)],
                "rejected": [system(), *good(EXCHANGES[0]), *bad(e)],
                "chosen_rating": 5.0,
                "rejected_rating": 4.0,
            }
            for e in EXCHANGES
        ],
        dpo="ready",
        kto="ready",
        grpo="mapped",
        reward="ready",
    ),
    ZooSet(
        name="ultrafeedback_binarized",
        like="HuggingFaceH4/ultrafeedback_binarized: the prompt as text beside whole chats",
        rows=[
            {
                "prompt": e.question,
                "prompt_id": f"{n:064x}",
                "chosen": good(e),
                "rejected": bad(e),
                "messages": good(e),
                "score_chosen": 8.5,
                "score_rejected": 4.0,
            }
            for n, e in enumerate(EXCHANGES)
        ],
        sft="mapped",
        dpo="mapped",
        kto="mapped",
        grpo="ready",
        reward="mapped",
        teaches=EXCHANGES[0].good,
    ),
    ZooSet(
        name="orpo_dpo_mix",
        like="mlabonne/orpo-dpo-mix-40k",
        rows=[
            {"source": "Airoboros", "chosen": good(e), "rejected": bad(e), "prompt": e.question, "question": e.question}
            for e in EXCHANGES
        ],
        dpo="mapped",
        kto="mapped",
        grpo="ready",
        reward="mapped",
    ),
    ZooSet(
        name="prompt_text_and_answer_turns",
        like="a prompt as text, and answers of one turn",
        rows=[{"prompt": e.question, "chosen": [assistant(e.good)], "rejected": [assistant(e.bad)]} for e in EXCHANGES],
        dpo="mapped",
        kto="mapped",
        grpo="ready",
        reward="mapped",
    ),
    ZooSet(
        name="pairs_beside_messages",
        like="pairs of text beside a chat: which of them TRL looks at depends on the seed of Python's hashes",
        rows=[{"prompt": e.question, "chosen": e.good, "rejected": e.bad, "messages": good(e)} for e in EXCHANGES],
        sft="mapped",
        dpo="mapped",
        kto="mapped",
        grpo="ready",
        reward="mapped",
        teaches=EXCHANGES[0].good,
    ),
    ZooSet(
        name="orca_dpo_pairs",
        like="Intel/orca_dpo_pairs: TRL looks for a prompt within the answers, and finds none",
        rows=[
            {"system": SYSTEM if n % 2 else "", "question": e.question, "chosen": e.good, "rejected": e.bad}
            for n, e in enumerate(EXCHANGES)
        ],
        dpo="mapped",
        kto="mapped",
        grpo="mapped",
        reward="mapped",
        nonsense={"dpo": NO_QUESTION, "kto": NO_QUESTION, "reward": NO_QUESTION},
    ),
    ZooSet(
        name="truthy_dpo",
        like="jondurbin/truthy-dpo-v0.1: TRL leaves the system prompt out",
        rows=[
            {
                "id": f"{n:032x}",
                "source": "truthy_dpo",
                "system": SYSTEM,
                "prompt": e.question,
                "chosen": e.good,
                "rejected": e.bad,
            }
            for n, e in enumerate(EXCHANGES)
        ],
        dpo="mapped",
        kto="mapped",
        grpo="mapped",
        reward="mapped",
        nonsense={"dpo": NO_SYSTEM, "kto": NO_SYSTEM, "grpo": NO_SYSTEM, "reward": NO_SYSTEM},
    ),
    ZooSet(
        name="hh_rlhf",
        like="Anthropic/hh-rlhf: transcripts",
        rows=[{"chosen": transcript(e, e.good), "rejected": transcript(e, e.bad)} for e in EXCHANGES],
        dpo="mapped",
        kto="mapped",
        grpo="mapped",
        reward="mapped",
        nonsense={"dpo": BEGUN_ALIKE, "kto": BEGUN_ALIKE},
    ),
    ZooSet(
        name="answers_without_prompts",
        like="pairs of bare answers: fit to compare, not to prompt",
        rows=[{"chosen": e.good, "rejected": f"({e.bad})"} for e in EXCHANGES],
        reward="ready",
        nonsense={"dpo": NO_PROMPT, "kto": NO_PROMPT},
    ),
    ZooSet(
        name="shp",
        like="stanfordnlp/SHP: labels say which of two answers was preferred",
        rows=[
            {
                "post_id": f"p{n}",
                "domain": "askbaking_train",
                "history": e.question,
                "human_ref_A": e.good if n % 2 else e.bad,
                "human_ref_B": e.bad if n % 2 else e.good,
                "labels": n % 2,
                "seconds_difference": 12.0,
                "score_ratio": 2.5,
            }
            for n, e in enumerate(EXCHANGES)
        ],
        dpo="mapped",
        kto="mapped",
        grpo="mapped",
        reward="mapped",
    ),
    ZooSet(
        name="other_names_for_pairs",
        like="preferences as `chosen_response` and `rejected_response`",
        rows=[{"question": e.question, "chosen_response": e.good, "rejected_response": e.bad} for e in EXCHANGES],
        dpo="mapped",
        kto="mapped",
        grpo="mapped",
        reward="mapped",
    ),
    ZooSet(
        name="llama_factory_dpo",
        like="llamafactory's ShareGPT preferences: a chat, and two turns that go on with it",
        rows=[
            {
                "conversations": shared([user(e.question)], user="human"),
                "chosen": {"from": "gpt", "value": e.good},
                "rejected": {"from": "gpt", "value": e.bad},
            }
            for e in EXCHANGES
        ],
        dpo="mapped",
        kto="mapped",
        grpo="mapped",
        reward="mapped",
    ),
    ZooSet(
        name="broken_pairs",
        like="pairs as they are collected: the same answer twice, a null, a blank",
        rows=[
            *({"prompt": e.question, "chosen": e.good, "rejected": e.bad} for e in EXCHANGES),
            {"prompt": "Name a moss.", "chosen": "Sphagnum.", "rejected": "Sphagnum."},
            {"prompt": "Name a fern.", "chosen": "Bracken.", "rejected": None},
            {"prompt": "Name a reed.", "chosen": "", "rejected": "Papyrus."},
        ],
        dpo="mapped",
        kto="mapped",
        grpo="ready",
        reward="mapped",
    ),
    ZooSet(
        name="pairs_with_a_margin",
        like="reward sets with a `margin`, which TRL's reward trainer takes off the difference; one is null",
        rows=[
            {"prompt": e.question, "chosen": e.good, "rejected": e.bad, "margin": None if n == 5 else 0.5}
            for n, e in enumerate(EXCHANGES)
        ],
        dpo="ready",
        kto="ready",
        grpo="ready",
        reward="mapped",
    ),
    ZooSet(
        name="only_chosen",
        like="preferences that lost their rejected side",
        rows=[{"prompt": e.question, "chosen": e.good} for e in EXCHANGES],
        grpo="ready",
    ),
)
