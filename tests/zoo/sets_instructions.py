"""Questions with answers under all their names: instructions, maths, reading, prompts with completions."""

from __future__ import annotations

import json

from .content import EXCHANGES, NUMBERS, SYSTEM, TEXTS, assistant, chat, user
from .zoo_set import ZooSet

FIRST = EXCHANGES[0]

SETS = (
    ZooSet(
        name="alpaca",
        like="tatsu-lab/alpaca: the whole prompt flattened into `text` beside its parts; mostly no input",
        rows=[
            {
                "instruction": e.question,
                "input": "Say it to a child." if n % 3 == 2 else "",
                "output": e.good,
                "text": f"Below is an instruction. ### Instruction:\n{e.question}\n\n### Response:\n{e.good}",
            }
            for n, e in enumerate(EXCHANGES)
        ],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="alpaca_without_input",
        like="instruction sets of two columns, with an answer that is missing",
        rows=[
            *({"instruction": e.question, "output": e.good} for e in EXCHANGES),
            {"instruction": "Name a moss.", "output": ""},
            {"instruction": None, "output": "Sphagnum."},
        ],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="dolly",
        like="databricks/databricks-dolly-15k",
        rows=[
            {
                "instruction": e.question,
                "context": TEXTS[0] if n % 2 else "",
                "response": e.good,
                "category": "closed_qa" if n % 2 else "open_qa",
            }
            for n, e in enumerate(EXCHANGES)
        ],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="gsm8k",
        like="openai/gsm8k: the answer ends in #### and a number",
        rows=[{"question": e.question, "answer": f"{e.good}\n#### {n}"} for n, e in enumerate(EXCHANGES)],
        sft="mapped",
        grpo="mapped",
        teaches="#### 0",
    ),
    ZooSet(
        name="math",
        like="hendrycks/competition_math",
        rows=[
            {"problem": e.question, "level": "Level 3", "type": "Algebra", "solution": f"{e.good} $\\boxed{{{n}}}$"}
            for n, e in enumerate(EXCHANGES)
        ],
        sft="mapped",
        grpo="mapped",
        teaches="boxed{0}",
    ),
    ZooSet(
        name="metamath",
        like="meta-math/MetaMathQA",
        rows=[
            {"type": "GSM_Rephrased", "query": e.question, "original_question": e.question, "response": e.good}
            for e in EXCHANGES
        ],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="openorca",
        like="Open-Orca/OpenOrca: a system prompt that is sometimes empty",
        rows=[
            {"id": f"niv.{n}", "system_prompt": SYSTEM if n % 2 else "", "question": e.question, "response": e.good}
            for n, e in enumerate(EXCHANGES)
        ],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="numina",
        like="AI-MO/NuminaMath-CoT: the chat beside the problem and its solution",
        rows=[
            {"source": "olympiads", "problem": e.question, "solution": e.good, "messages": chat(n)}
            for n, e in enumerate(EXCHANGES)
        ],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="openr1_math",
        like="open-r1/OpenR1-Math-220k: many generations, and the chosen one as messages",
        rows=[
            {
                "problem": e.question,
                "solution": e.good,
                "answer": str(n),
                "uuid": f"{n:08x}",
                "generations": [f"<think>Hm.</think> {e.good}", e.bad],
                "correctness_math_verify": [True, False],
                "finish_reasons": ["stop", "length"],
                "messages": [user(e.question), assistant(f"<think>Hm.</think> {e.good}")],
            }
            for n, e in enumerate(EXCHANGES)
        ],
        sft="mapped",
        grpo="mapped",
        teaches="<think>Hm.</think>",
    ),
    ZooSet(
        name="deepmath",
        like="zwhe99/DeepMath-103K: three solutions, none of which is the answer to learn",
        rows=[
            {
                "question": e.question,
                "final_answer": str(n),
                "difficulty": 5.0,
                "topic": "Algebra",
                "r1_solution_1": e.good,
                "r1_solution_2": e.good,
                "r1_solution_3": e.bad,
            }
            for n, e in enumerate(EXCHANGES)
        ],
        grpo="mapped",
    ),
    ZooSet(
        name="opencodereasoning",
        like="nvidia/OpenCodeReasoning: the question as `input`, its answer as `output`, the bare code as `solution`",
        rows=[
            {
                "id": f"{n}",
                "input": e.question,
                "output": f"<think>\nHm.\n</think>\n{e.good}",
                "source": "code_contests",
                "license": "cc-by-4.0",
                "dataset": "code_contests",
                "split": "train",
                "difficulty": "7",
                "solution": e.good,
            }
            for n, e in enumerate(EXCHANGES)
        ],
        sft="mapped",
        grpo="mapped",
        teaches="<think>",
    ),
    ZooSet(
        name="instructions_in_json_strings",
        like="sets whose one column holds a whole instruction as JSON",
        rows=[{"data": json.dumps({"instruction": e.question, "output": e.good})} for e in EXCHANGES],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="squad",
        like="rajpurkar/squad: the answers in a struct, the passage in `context`",
        rows=[
            {
                "id": f"5733be284776f4190066117{n}",
                "title": "Ferries",
                "context": TEXTS[0],
                "question": "When did the ferry leave?",
                "answers": {"text": ["before dawn"], "answer_start": [15]},
            }
            for n in NUMBERS
        ],
        sft="mapped",
        grpo="mapped",
        teaches="before dawn",
    ),
    ZooSet(
        name="arc",
        like="allenai/ai2_arc: choices with a key, which no single text answers",
        rows=[
            {
                "id": f"Mercury_{n}",
                "question": e.question,
                "choices": {"text": [e.good, e.bad], "label": ["A", "B"]},
                "answerKey": "A",
            }
            for n, e in enumerate(EXCHANGES)
        ],
        grpo="mapped",
    ),
    ZooSet(
        name="prompts_and_completions",
        like="TRL's prompt-completion format, as text",
        rows=[{"prompt": f"{e.question}\n", "completion": e.good} for e in EXCHANGES],
        sft="ready",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="prompts_and_completions_in_turns",
        like="TRL's prompt-completion format, as turns",
        rows=[{"prompt": [user(e.question)], "completion": [assistant(e.good)]} for e in EXCHANGES],
        sft="ready",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="prompts_and_completions_beside_text",
        like="the same beside `text`: TRL then puts the end of the answer onto that column",
        rows=[{"prompt": e.question, "completion": e.good, "text": e.question + e.good} for e in EXCHANGES],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="prompt_text_and_completion_turns",
        like="a prompt as text with a completion as turns, which TRL cannot add",
        rows=[{"prompt": e.question, "completion": [assistant(e.good)]} for e in EXCHANGES],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="prompts_and_responses",
        like="exports with `prompt` and `response`",
        rows=[{"prompt": e.question, "response": e.good} for e in EXCHANGES],
        sft="mapped",
        grpo="ready",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="completions_that_are_missing",
        like="prompt-completion rows with nulls and blanks among them",
        rows=[
            *({"prompt": e.question, "completion": e.good} for e in EXCHANGES),
            {"prompt": "And a fern?", "completion": None},
            {"prompt": None, "completion": "A fern."},
            {"prompt": "And moss?", "completion": ""},
        ],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
    ZooSet(
        name="questions_without_answers",
        like="a question set whose answers were never written",
        rows=[{"question": e.question, "answer": None} for e in EXCHANGES],
        grpo="mapped",
    ),
    ZooSet(
        name="cut_answers",
        like="generated answers with the reason why generation ended",
        rows=[
            {
                "prompt": e.question,
                "completion": e.good[:12] if n % 4 == 1 else e.good,
                "finish_reason": "length" if n % 4 == 1 else "stop",
            }
            for n, e in enumerate(EXCHANGES)
        ],
        sft="mapped",
        grpo="mapped",
        teaches=FIRST.good,
    ),
)
