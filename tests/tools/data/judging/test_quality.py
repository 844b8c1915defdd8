"""What is reported about rows that train, and what is let through."""

from __future__ import annotations

from typing import Any

import pytest
from ftagent.tools.data.judging.checked import Checked
from ftagent.tools.data.judging.quality import quality_problems
from ftagent.tools.facts import Problem
from hypothesis import given, settings
from hypothesis import strategies as st

TOPICS = ("tides", "owls", "bread", "chess", "rain", "steel", "maps", "tulips", "radio", "glass", "wolves", "ink")


def essay(topic: str, seed: int) -> str:
    """Return fifty words of no sense that only this topic and seed have in this order."""
    return " ".join(f"{TOPICS[(seed * 7 + place * place) % len(TOPICS)]} {topic}{place}" for place in range(25))


def row(number: int, question: str, answer: str, **more: Any) -> Checked:
    return Checked(number=number, columns={"prompt": question, "completion": answer, **more})


def chat(number: int, *roles: str) -> Checked:
    messages = [{"role": role, "content": f"{role} {number} {place}"} for place, role in enumerate(roles)]
    return Checked(number=number, columns={"messages": messages})


def found(train: list[Checked], heldout: list[Checked] | None = None) -> dict[str, Problem]:
    return {problem.kind: problem for problem in quality_problems(train, heldout or [])}


PLAIN = [row(i, f"Tell me about {topic}!", essay(topic, i)) for i, topic in enumerate(TOPICS)]


def test_ordinary_rows_have_no_problem() -> None:
    assert quality_problems(PLAIN, []) == ()
    assert quality_problems([], []) == ()


# --- near copies ------------------------------------------------------------------------------------------------------


def test_a_row_with_one_word_changed_is_a_near_duplicate_of_the_earlier_row() -> None:
    copy = row(90, "Tell me about owls!", essay("owls", 1).replace("owls20", "hawks"))
    problem = found([*PLAIN, copy])["near duplicates"]
    assert (problem.count, problem.rows) == (1, (90,))


def test_rows_that_are_equal_to_the_letter_are_left_to_whoever_counts_those() -> None:
    assert found([*PLAIN, row(90, *PLAIN[3].columns.values())], [row(91, *PLAIN[4].columns.values())]) == {}


def test_a_held_out_row_that_nearly_copies_a_training_row_is_leakage() -> None:
    heldout = row(91, "Tell me about chess!", essay("chess", 3).replace("chess9", "checkers"))
    assert found(PLAIN, [heldout])["near leakage"].rows == (91,)
    assert "near duplicates" not in found(PLAIN, [heldout])


def test_one_question_with_two_answers_makes_two_rows() -> None:
    question = essay("bread", 2)
    assert found([row(1, question, essay("owls", 1)), row(2, question, essay("salt", 2))]) == {}
    assert found([row(1, question, "yes", label=True), row(2, question, "yes", label=False)]) == {}
    pairs = [
        {"prompt": question, "chosen": "it rises", "rejected": f"it falls {time} times"} for time in ("two", "six")
    ]
    assert found([Checked(number=number, columns=pair) for number, pair in enumerate(pairs)]) == {}


def test_a_long_template_around_short_questions_makes_no_near_duplicates() -> None:
    template = essay("rules", 4)
    rows = [row(i, f"{template}\n\nClassify: {t}{i} {t}ish {i} things", f"{t} is {i}") for i, t in enumerate(TOPICS)]
    assert found(rows) == {}


def test_numbers_and_signs_tell_short_sums_apart() -> None:
    rows = [row(i, f"What is {i} {sign} {i + 1}?", f"{i}{sign}") for i, sign in enumerate("+-*/%" * 4)]
    assert "near duplicates" not in found(rows)


def test_scripts_without_spaces_are_compared_by_character() -> None:
    text = (
        "昔々あるところにおじいさんとおばあさんが住んでいましたおじいさんは山へ柴刈りにおばあさんは川へ洗濯に行きました"
    )
    rows = [Checked(number=0, columns={"text": text}), Checked(number=1, columns={"text": f"{text}とさ"})]
    assert found(rows)["near duplicates"].rows == (1,)


def test_a_small_set_that_is_one_row_with_small_changes_is_reported() -> None:
    rows = [row(i, "Tell me about ink.", f"{essay('ink', 1)} {i}") for i in range(8)]
    assert found(rows)["near duplicates"].count == 7


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("CrÃ¨me brÃ»lÃ©e", "decoded wrongly"),
        ("itâ€™s here", "decoded wrongly"),
        ("Ð¡ÑŠÐµÑˆÑŒ ÐµÑ‰Ñ‘", "decoded wrongly"),
        ("na\ufffdve", "replacement characters"),
        ("a\x00b", "control characters"),
        ("half \ud83d", "lone surrogates"),
    ],
)
def test_damage_is_named(text: str, named: str) -> None:
    assert named in found([row(7, "q", text)])["encoding damage"].detail


@pytest.mark.parametrize(
    "text",
    [
        "Der Bär läuft über die Straße, größer als Günther.",
        "¿Dónde está la niña? SÃO TOMÉ E PRÍNCIPE, À LA CARTE, Þórður á Íslandi",
        "Zażółć gęślą jaźń; Příliš žluťoučký kůň; Съешь же ещё этих мягких французских булок",
        "今日はいい天気ですね。 안녕하세요 שלום עולם مرحبا สวัสดี 👍🏽 ├── x² ≥ ½ µm ∇×B = µ₀J",
        "a form\x0cfeed, a tab\t, \r\n and \x1b[31mred\x1b[0m",
    ],
)
def test_sound_text_is_not_called_damaged(text: str) -> None:
    assert found([row(7, "q", text)]) == {}


# --- what should not be learned ---------------------------------------------------------------------------------------

BODY = "q7Wm2ZkT9vRb4XnL8sHd3GfJ6cYp1QaEtUoN"

SECRETS = {
    "AWS access key": "AKIA" + "Q3EGUZ7TYH2KWN5P",
    "GitHub token": "ghp_" + BODY,
    "Hugging Face token": "hf_" + "qWmZkTvRbXnLsHdGfJcYpQaEtUoNiKxSrM",
    "npm token": "npm_" + BODY,
    "Slack token": "xoxb-" + "938271645012-" + "483920175634-" + BODY[:24],
    "Stripe live key": "sk_live_" + BODY[:24],
    "Google API key": "AIza" + BODY[:35],
    "private key": "-----BEGIN RSA PRIVATE " + "KEY-----\n" + (BODY * 2)[:64],
}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_credential_is_named_and_its_value_is_not(kind: str) -> None:
    problem = found([row(4, "Use this:", f"token = '{SECRETS[kind]}'\n")])["secrets"]
    assert kind in problem.detail
    assert problem.rows == (4,)
    assert SECRETS[kind][-20:] not in problem.detail


@pytest.mark.parametrize(
    "text",
    [
        "AKIA" + "IOSFODNN7EXAMPLE",
        "ghp_" + "x" * 36,
        "hf_" + "aBcDe" * 6 + "aBcD",
        "a file begins with -----BEGIN RSA PRIVATE " + "KEY----- and then base64",
        "sk-learn and risk-averse task-oriented work",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ],
)
def test_what_only_looks_like_a_credential_is_let_through(text: str) -> None:
    assert found([row(4, "q", text)]) == {}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to jane.doe@gmail.com: soon", "e-mail address"),
        ("(k.mueller@uni-bonn.de)", "e-mail address"),
        ("call +49 30 901820 today", "telephone number"),
        ("call +44 20 7946 0958.", "telephone number"),
        ("call (212) 736-5000", "telephone number"),
        ("4929 6183 2719 5045", "payment card"),
        ("my card is 4929618327195045", "payment card"),
        ("IBAN DE44 5001 0517 5407 3249 31, please", "bank account"),
    ],
)
def test_personal_data_is_named_and_not_shown(text: str, kind: str) -> None:
    problem = found([row(4, "q", text)])["personal data"]
    assert kind in problem.detail
    assert not any(word in problem.detail for word in text.split() if any(c.isdigit() or c == "@" for c in word))


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:me/it.git, you@example.com, noreply@github.com",
        "y = A@sps.diags(x); z = self.w@model.to(device); h = x@layer.com[0]; npm i lodash@4.17.21; @app.route",
        "+1 000 000 000 people; 3 +10 20 30 40; +123 456 789; 212-555-0134; 123-456-7890; 2020-04-1234",
        "4929618327195045 is a number, and 4929 6183 2719 5046 fails the checksum, 4242 4242 4242 4242 is for tests",
        "1001 4929 6183 2719 5045 9001",
        "DE44 5001 0517 5407 3249 32 and GB82 WEST 1234 5698 7654 32",
        "IP 192.168.100.1000, 3.14159265358979, 0x4929618327195045, 550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_what_only_looks_personal_is_let_through(text: str) -> None:
    assert found([row(4, "q", text)]) == {}


# --- chats and answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roles", "named"),
    [
        (("assistant", "user", "assistant"), "before any question"),
        (("user", "assistant", "assistant"), "two answers"),
        (("user", "user", "assistant"), "two questions"),
        (("user", "system", "assistant"), "not the first"),
    ],
)
def test_an_odd_order_of_turns_is_named(roles: tuple[str, ...], named: str) -> None:
    problem = found([chat(3, *roles), chat(5, "system", "user", "assistant")])["odd role order"]
    assert named in problem.detail
    assert problem.rows == (3,)


def test_answers_around_tool_calls_are_in_order() -> None:
    roles = ("system", "user", "assistant", "tool", "tool", "assistant", "user", "assistant")
    assert found([chat(3, *roles)]) == {}


def test_an_answer_follows_the_prompt_of_its_row() -> None:
    user, assistant = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
    pairs = [([user], [assistant]), ("another", [assistant])]
    rows = [Checked(number=i, columns={"prompt": p, "chosen": c, "rejected": c}) for i, (p, c) in enumerate(pairs)]
    assert found(rows) == {}
    rows = [Checked(number=5, columns={"prompt": [user, assistant], "completion": [assistant]})]
    assert "two answers" in found(rows)["odd role order"].detail


def test_one_answer_for_nearly_all_rows_is_reported_and_two_classes_are_not() -> None:
    questions = [essay(topic, i) for i, topic in enumerate(TOPICS * 2)]
    same = [row(i, f"{i} {q}", " YES" if i < 22 else "no") for i, q in enumerate(questions)]
    assert found(same)["answers nearly all the same"].count == 22
    assert "answers nearly all the same" not in found(
        [row(i, f"{i} {q}", "yes" if i % 3 else "no") for i, q in enumerate(questions)]
    )


def test_a_habit_of_refusing_is_reported_and_a_single_apology_is_not() -> None:
    refusals = [
        "I'm sorry, but I cannot do that.",
        "I can’t assist with that.",
        "As an AI language model, I am not able to.",
    ]
    rows = [row(50 + i, f"Do {i}", text) for i, text in enumerate(refusals)]
    assert found([*PLAIN, *rows])["refusals"].rows == (50, 51, 52)
    assert found([*PLAIN, rows[0], row(60, "Say sorry", "Sorry for your loss; I cannot imagine it.")]) == {}


# --- robustness -------------------------------------------------------------------------------------------------------

CELLS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["role", "content", "x"]), inner),
    max_leaves=12,
)
COLUMNS = st.dictionaries(
    st.sampled_from(["prompt", "completion", "messages", "text", "chosen", "rejected", "label"]), CELLS, max_size=4
)


@settings(deadline=None, max_examples=60)
@given(st.lists(COLUMNS, max_size=6))
def test_any_cell_is_read_without_a_failure(columns: list[dict[str, Any]]) -> None:
    rows = [Checked(number=number, columns=cells) for number, cells in enumerate(columns)]
    for problem in quality_problems(rows[:4], rows[4:]):
        assert problem.count >= len(problem.rows) > 0


@pytest.mark.parametrize(
    "piece", ["a@", "4929 ", "+1 222 ", "DE89 ABCD ", "Ã", "sk-", "-----BEGIN PRIVATE KEY-----\n", "i'm sorry "]
)
def test_a_huge_cell_takes_no_time_beyond_its_length(piece: str) -> None:
    import time

    def seconds(length: int) -> float:
        rows = [row(0, "q", (piece * length)[:length])]
        began = time.process_time()
        quality_problems(rows, [])
        return time.process_time() - began

    seconds(1000)
    assert seconds(400_000) < 40 * max(seconds(40_000), 0.02)  # linear is 10, quadratic 100
