"""What mappings and filters share: whatever a row calls its chat, its question or its answers, as turns.

What an emitted function uses of these is emitted with it (`emitted.source_of`), so nothing here uses names of other
modules. None of it raises, whatever a cell holds: filters judge what comes out, and mappings then see good rows only.
"""

CHATS = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat")
QUESTIONS = ("instruction", "question", "query", "problem", "prompt", "inputs", "input", "history")
CONTEXTS = ("input", "context")
ANSWERS = (
    "output",
    "response",
    "completion",
    "solution",
    "generated_solution",
    "generation",
    "answer",
    "targets",
    "answers",
)
TEXTS = ("text", "content", "code")
CHOSEN = ("chosen", "chosen_response", "response_chosen", "preferred")
REJECTED = ("rejected", "rejected_response", "response_rejected", "dispreferred", "non_preferred")
SYSTEMS = ("system", "system_prompt")

# What chats call their speakers -> what chat templates call them.
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "function_response": "tool",
    "function response": "tool",
    "observation": "tool",
    "ipython": "tool",
}

# Columns in which generators say why they stopped.
STOPS = ("finish_reason", "stop_reason")

# Names that GRPOTrainer and RLOOTrainer give their own arguments or do not pass on to rewards (trl 1.16,
# `_calculate_rewards`: `prompts` and `completions` end in a TypeError, the others are lost), or take for pictures.
TRAINERS_OWN = (
    "prompts",
    "completion",
    "completions",
    "completion_ids",
    "trainer_state",
    "log_extra",
    "log_metric",
    "image",
    "images",
)


def column_of(columns, names):
    """Return the first of these names that is a column, in whatever case it is written."""
    own = {column.lower(): column for column in sorted(columns)}
    return next((own[name] for name in names if name in own), None)


def cell(row, names):
    """Return what stands in the first of these columns that the row has."""
    return row.get(column_of(row, names))


def parsed(text):
    """Return what a JSON text says, and None where it is none."""
    import json

    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None


def text_of(content):
    """Return content as text, its parts joined; what is no text stays as it is."""
    if not isinstance(content, list):
        return content
    parts = [part for part in content if isinstance(part, dict) and part.get("type") in (None, "text")]
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    return "".join(texts) if len(texts) == len(content) > 0 else content


def calls_of(calls):
    """Return tool calls as chat templates read them, their arguments as objects; None where one cannot be read."""
    calls = parsed(calls) if isinstance(calls, str) else calls
    read = [call_of(call) for call in (calls if isinstance(calls, list) else [calls])]
    return None if None in read else read


def call_of(call):
    """Return a tool call with its arguments as an object, without the nulls that Arrow adds; None where it is none."""
    call = call if isinstance(call, dict) else {}
    function = call.get("function", call)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return None
    arguments = function.get("arguments")
    arguments = parsed(arguments) if isinstance(arguments, str) else arguments
    if not isinstance(arguments, dict):
        return None
    arguments = {name: value for name, value in arguments.items() if value is not None}
    told = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {**told, "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def transcript_of(text):
    """Return the turns of a text that goes `Human: … Assistant: …`; none where it does not begin like that."""
    import re

    text = "\n\n" + text.replace("<|endoftext|>", "").lstrip()
    before, *parts = re.split(r"\n\n(human|user|assistant|system|function response):", text, flags=re.IGNORECASE)
    turns = [{"role": role, "content": said.strip()} for role, said in zip(parts[::2], parts[1::2], strict=True)]
    return [] if before else turns


def turns_of(chat):
    """Return a chat as turns of `role` and `content`, however it is written; keys that hold null are left out."""
    if isinstance(chat, str):
        chat = parsed(chat) if chat[:1] == "[" else transcript_of(chat)
    turns = []
    for place, turn in enumerate(chat if isinstance(chat, list) else []):
        if isinstance(turn, str):  # bare texts: the first is the user's, the second the assistant's, and so on
            turn = {"role": ("user", "assistant")[place % 2], "content": turn}
        turns += exchange_of(turn) if isinstance(turn, dict) and "output" in turn else [turn_of(turn)]
    return turns


def exchange_of(pair):
    """Return the two turns of an `input` and its `output`."""
    return [{"role": "user", "content": pair.get("input")}, {"role": "assistant", "content": pair["output"]}]


def turn_of(turn):
    """Return a turn with a role that chat templates know, its content as text and its tool calls as objects."""
    turn = {key: value for key, value in turn.items() if value is not None} if isinstance(turn, dict) else {}
    role, content = turn.pop("from", None), turn.pop("value", None)
    role, content = str(turn.pop("role", role)), text_of(turn.pop("content", content))
    if role in ("function_call", "tool_call"):
        role, content, turn["tool_calls"] = "assistant", "", content
    if turn.get("tool_calls"):
        content, turn["tool_calls"] = content or "", calls_of(turn["tool_calls"])
    else:
        turn.pop("tool_calls", None)
    return {"role": ROLES.get(role.lower(), role), "content": content, **turn}


def with_system(row, turns):
    """Put the system prompt that has a column of its own in front of the turns."""
    system = cell(row, SYSTEMS)
    if not isinstance(system, str) or not system.strip() or (turns and turns[0]["role"] == "system"):
        return turns
    return [{"role": "system", "content": system.removeprefix("SYSTEM:").strip()}, *turns]


def chat_of(row):
    """Return the chat of a row as turns."""
    return with_system(row, turns_of(cell(row, CHATS)))


def spoken(value, role):
    """Return what somebody says, which may be turns or a text, as turns."""
    if isinstance(value, dict):
        value = [value]
    return turns_of(value) if isinstance(value, list) else [{"role": role, "content": value}]


def question_of(row):
    """Return the question of a row with the context that belongs to it; None where one of them is no text."""
    name = column_of(row, QUESTIONS)
    context = [row[column] for column in row if column != name and column.lower() in CONTEXTS and row[column]]
    parts = [row.get(name), *context]
    return "\n\n".join(parts) if all(isinstance(part, str) for part in parts) else None


def asked(row):
    """Return what a row asks, as turns: its question, or a chat that wants an answer."""
    question = cell(row, (*QUESTIONS, *CHATS))
    return with_system(row, spoken(question_of(row) if isinstance(question, str) else question, "user"))


def answer_of(row):
    """Return the answer of a row; of several that are equally right, as in SQuAD, the first."""
    answer = cell(row, ANSWERS)
    several = answer.get("text") if isinstance(answer, dict) else None
    return several[0] if isinstance(several, list) and several else answer


def answered(row):
    """Return the answer of a row as turns."""
    return spoken(answer_of(row), "assistant")


def preference_of(row):
    """Return prompt, chosen and rejected answer of a row as turns; what two chats begin with is their prompt."""
    sides = [cell(row, CHOSEN), cell(row, REJECTED)]
    chats = [spoken(transcript_of(side) if isinstance(side, str) else side, "assistant") for side in sides]
    if not all(chat and chat[0]["role"] in ("system", "user") for chat in chats):
        return asked(row), *(spoken(side, "assistant") for side in sides)
    chosen, rejected = chats
    places = (place for place, (one, other) in enumerate(zip(chosen, rejected, strict=False)) if one != other)
    shared = next(places, min(len(chosen), len(rejected)))
    return with_system(row, chosen[:shared]), chosen[shared:], rejected[shared:]


def begins_alike(one, other):
    """Whether two texts begin with the same two words: with a prompt, that is, and not by chance with "I" or "The"."""
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    words = one.split(maxsplit=2)[:2]
    return len(words) == 2 and words == other.split(maxsplit=2)[:2]


def compared(row):
    """Return the better of two answers as `chosen`, the other as `rejected`; nothing where neither is better."""
    if "human_ref_A" in row:  # 1: A was voted higher
        first, second, verdict, wins = row["human_ref_A"], row.get("human_ref_B"), row.get("labels"), (1, 0)
    elif "response_0" in row:
        first, second, verdict, wins = row["response_0"], row.get("response_1"), row.get("better_response_id"), (0, 1)
    else:
        first, second, verdict = row.get("conversation_a"), row.get("conversation_b"), row.get("winner")
        wins = ("model_a", "model_b")
    if verdict == wins[0]:
        return {"chosen": first, "rejected": second}
    return {"chosen": second, "rejected": first} if verdict == wins[1] else {}


def truth_of(label):
    """Return whether a label says good (true, 1) or bad (false, 0, -1); None where it says neither."""
    if isinstance(label, str):
        return {"true": True, "false": False, "good": True, "bad": False}.get(label.lower())
    return label > 0 if label in (1, 0, -1) else None


def rating_of(row):
    """Return whether a rating lies above the middle of its scale; None where it lies on it or is no rating."""
    scales = {"helpfulness": (0, 4), "rating": (1, 5), "stars": (1, 5), "overall_score": (1, 10)}
    name = next((name for name in scales if name in row), "helpfulness")
    (low, high), value = scales[name], row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return None
    return None if 2 * value == low + high else 2 * value > low + high


def is_bad(row):
    """Whether the row itself says that its answer is bad."""
    return truth_of(row.get("label")) is False or rating_of(row) is False


def tools_of(row):
    """Return the columns beside a chat that change how its template writes it."""
    tools = row.get("tools")
    listed = parsed(tools) if isinstance(tools, str) else tools
    tools = tools if isinstance(listed, list) and all(isinstance(tool, dict) for tool in listed) else None
    told = row.get("chat_template_kwargs")
    return {
        **({"tools": tools} if "tools" in row else {}),
        **({"chat_template_kwargs": told if isinstance(told, dict) else {}} if "chat_template_kwargs" in row else {}),
    }


def kept_for_rewards(row):
    """Return the columns that rewards may need, under other names where the trainer uses theirs itself."""
    return {f"given_{name}" if name in TRAINERS_OWN else name: row[name] for name in sorted(row) if name != "prompt"}


def inside_json(row):
    """Return the fields of the JSON object that a text column of the row holds."""
    objects = (parsed(row[name]) for name in sorted(row) if isinstance(row[name], str) and row[name][:1] == "{")
    return next((fields for fields in objects if isinstance(fields, dict)), {})


def dialogue_of(row):
    """Return the chat of a row, or its question and answer, as turns."""
    return chat_of(row) or [*asked(row), *answered(row)]
