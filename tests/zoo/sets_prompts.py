"""Single answers with a label or a rating, steps with labels, and prompts that rewards judge."""

from __future__ import annotations

from .content import EXCHANGES, SYSTEM, assistant, system, user
from .zoo_set import ZooSet

BAD_ANSWERS_TOO = "the answers that are labelled bad would be learned like the good ones"

GOOD_AND_BAD_ALIKE = "-1 is true in Python: the bad answers pass as good ones"

SETS = (
    ZooSet(
        name="kto_mix",
        like="trl-lib/kto-mix-14k",
        rows=[
            {
                "prompt": [user(e.question)],
                "completion": [assistant(e.good if n % 2 else e.bad)],
                "label": bool(n % 2),
            }
            for n, e in enumerate(EXCHANGES)
        ],
        sft="mapped",
        kto="ready",
        grpo="mapped",
        teaches=EXCHANGES[1].good,
        nonsense={"sft": BAD_ANSWERS_TOO},
    ),
    ZooSet(
        name="labels_of_0_and_1",
        like="unpaired preferences as text, with numbers for labels",
        rows=[
            {"prompt": e.question, "completion": e.good if n % 2 else e.bad, "label": n % 2}
            for n, e in enumerate(EXCHANGES)
        ],
        sft="mapped",
        kto="ready",
        grpo="mapped",
        teaches=EXCHANGES[1].good,
        nonsense={"sft": BAD_ANSWERS_TOO},
    ),
    ZooSet(
        name="labels_of_minus_1_and_1",
        like="thumbs down as -1, which TRL takes for a good answer",
        rows=[
            {"prompt": e.question, "completion": e.good if n % 2 else e.bad, "label": 1 if n % 2 else -1}
            for n, e in enumerate(EXCHANGES)
        ],
        sft="mapped",
        kto="mapped",
        grpo="mapped",
        teaches=EXCHANGES[1].good,
        nonsense={"sft": BAD_ANSWERS_TOO, "kto": GOOD_AND_BAD_ALIKE},
    ),
    ZooSet(
        name="labels_that_are_missing",
        like="feedback logs: not everybody votes",
        rows=[
            {
                "prompt": e.question,
                "completion": e.good if n % 2 else e.bad,
                "label": None if n == 4 else bool(n % 2),
            }
            for n, e in enumerate(EXCHANGES)
        ],
        sft="mapped",
        kto="mapped",
        grpo="mapped",
        teaches=EXCHANGES[1].good,
        nonsense={"sft": BAD_ANSWERS_TOO},
    ),
    ZooSet(
        name="feedback_under_other_names",
        like="feedback logs: `question`, `response` and a label",
        rows=[
            {"question": e.question, "response": e.good if n % 2 else e.bad, "label": bool(n % 2)}
            for n, e in enumerate(EXCHANGES)
        ],
        sft="mapped",
        kto="mapped",
        grpo="mapped",
        teaches=EXCHANGES[1].good,
    ),
    ZooSet(
        name="helpsteer2",
        like="nvidia/HelpSteer2: ratings from 0 to 4",
        rows=[
            {
                "prompt": e.question,
                "response": answer,
                "helpfulness": helpfulness,
                "correctness": helpfulness,
                "coherence": 4,
                "complexity": 1,
                "verbosity": 1,
            }
            for e in EXCHANGES
            for answer, helpfulness in ((e.good, 4), (e.bad, 0))
        ],
        sft="mapped",
        kto="mapped",
        grpo="ready",
        teaches=EXCHANGES[0].good,
    ),
    ZooSet(
        name="ratings_from_1_to_5",
        like="single answers with a `rating`",
        rows=[
            {"prompt": e.question, "completion": e.good if n % 2 else e.bad, "rating": 5 if n % 2 else n // 4 + 1}
            for n, e in enumerate(EXCHANGES)
        ],
        sft="mapped",
        kto="mapped",
        grpo="mapped",
        teaches=EXCHANGES[1].good,
        nonsense={"sft": BAD_ANSWERS_TOO},
    ),
    ZooSet(
        name="openbmb_ultrafeedback",
        like="openbmb/UltraFeedback: four rated completions in a list",
        rows=[
            {
                "source": "evol_instruct",
                "instruction": e.question,
                "models": ["a", "b"],
                "completions": [
                    {"model": "a", "response": e.good, "overall_score": 8.0},
                    {"model": "b", "response": e.bad, "overall_score": 2.0},
                ],
                "correct_answers": ["None"],
                "incorrect_answers": ["None"],
            }
            for e in EXCHANGES
        ],
        grpo="mapped",
    ),
    ZooSet(
        name="stepwise",
        like="trl-lib/prm800k: TRL's stepwise supervision, which no stable trainer takes",
        rows=[
            {"prompt": e.question, "completions": ["First, look.", e.good], "labels": [True, bool(n % 2)]}
            for n, e in enumerate(EXCHANGES)
        ],
        grpo="mapped",
    ),
    ZooSet(
        name="math_shepherd",
        like="peiyi9979/Math-Shepherd: steps and their marks within the text",
        rows=[
            {
                "input": f"{e.question} Step 1: Look. ки\nStep 2: {e.good} ки",
                "label": f"{e.question} Step 1: Look. +\nStep 2: {e.good} -",
                "task": "GSM8K",
            }
            for e in EXCHANGES
        ],
    ),
    ZooSet(
        name="dapo_math",
        like="BytedTsinghua-SIA/DAPO-Math-17k: the true answer in a struct that the reward reads",
        rows=[
            {
                "data_source": "math_dapo",
                "prompt": [user(e.question)],
                "ability": "MATH",
                "reward_model": {"ground_truth": str(n), "style": "rule-lighteval/MATH_v2"},
                "extra_info": {"index": f"{n:08x}"},
            }
            for n, e in enumerate(EXCHANGES)
        ],
        grpo="ready",
    ),
    ZooSet(
        name="tldr_prompts",
        like="trl-lib/tldr's prompts: text alone",
        rows=[{"prompt": f"SUBREDDIT: r/baking\n\nPOST: {e.question}\n\nTL;DR:"} for e in EXCHANGES],
        grpo="ready",
    ),
    ZooSet(
        name="prompts_with_a_solution",
        like="AI-MO/NuminaMath-TIR made ready for GRPO: turns, and what the reward compares with",
        rows=[{"prompt": [system(), user(e.question)], "solution": e.good} for e in EXCHANGES],
        grpo="ready",
        sft="mapped",
        teaches=EXCHANGES[0].good,
    ),
    ZooSet(
        name="prompts_with_completions",
        like="rejection sampling logs: `completions` is a name that GRPO's rewards are called with",
        rows=[{"prompt": e.question, "completions": [e.good, e.bad], "rewards": [1.0, 0.0]} for e in EXCHANGES],
        grpo="mapped",
    ),
    ZooSet(
        name="prompts_twice",
        like="sets with `prompts` beside `prompt`, another name that GRPO's rewards are called with",
        rows=[{"prompt": e.question, "prompts": [e.question, SYSTEM], "answer": e.good} for e in EXCHANGES],
        sft="mapped",
        grpo="mapped",
        teaches=EXCHANGES[0].good,
    ),
    ZooSet(
        name="prompts_beside_image_names",
        like="prompts with a column `image` that is null throughout",
        rows=[{"prompt": e.question, "image": None, "answer": e.good} for e in EXCHANGES],
        sft="mapped",
        grpo="mapped",
        teaches=EXCHANGES[0].good,
    ),
    ZooSet(
        name="prompts_that_are_missing",
        like="prompts with a null and a blank among them",
        rows=[*({"prompt": [user(e.question)]} for e in EXCHANGES), {"prompt": None}, {"prompt": []}],
        grpo="mapped",
    ),
)
