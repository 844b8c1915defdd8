"""Plain text, code, classification, translation, retrieval and tokenised sets."""

from __future__ import annotations

from .content import EXCHANGES, NUMBERS, SNIPPETS, TEXTS, user
from .zoo_set import ZooSet

ONE_TURN_A_ROW = "each row is a single turn of a tree of chats: questions would be learned like answers"
FOREIGN_TOKENS = "the numbers are tokens of a tokenizer that nobody names"
NOTHING_BUT_ENDS = "every row is blank: the end of the text is all that is learned"

SETS = (
    ZooSet(
        name="fineweb",
        like="HuggingFaceFW/fineweb",
        rows=[
            {
                "text": text,
                "id": f"<urn:uuid:{number}>",
                "dump": "CC-MAIN-2013-20",
                "url": f"http://example.org/{number}",
                "date": "2013-05-18T05:48:54Z",
                "file_path": "s3://bucket/file.warc.gz",
                "language": "en",
                "language_score": 0.9 + number / 100,
                "token_count": len(text) // 4,
            }
            for number, text in enumerate(TEXTS)
        ],
        sft="ready",
        teaches=TEXTS[0],
    ),
    ZooSet(
        name="wikitext",
        like="Salesforce/wikitext: empty lines and headings are rows",
        rows=[{"text": text} for line in TEXTS for text in ("", " = Heading = \n", f" {line} \n")],
        sft="mapped",
        teaches="Heading",
    ),
    ZooSet(
        name="c4_with_a_null",
        like="allenai/c4, with a row whose text was lost",
        rows=[
            *({"text": text, "timestamp": "2019-04-25 12:57:54", "url": "https://example.org"} for text in TEXTS),
            {"text": None, "timestamp": "2019-04-25 12:57:54", "url": "https://example.org"},
        ],
        sft="mapped",
        teaches=TEXTS[0],
    ),
    ZooSet(
        name="pile",
        like="EleutherAI/pile: meta beside the text",
        rows=[{"text": text, "meta": {"pile_set_name": "Books3"}} for text in TEXTS],
        sft="ready",
        teaches=TEXTS[0],
    ),
    ZooSet(
        name="guanaco",
        like="timdettmers/openassistant-guanaco: chats that were flattened by their author",
        rows=[{"text": f"### Human: {e.question}### Assistant: {e.good}"} for e in EXCHANGES],
        sft="ready",
        teaches=EXCHANGES[0].good,
    ),
    ZooSet(
        name="oasst1",
        like="OpenAssistant/oasst1: a turn a row",
        rows=[
            {
                "message_id": f"m{number}{role}",
                "parent_id": None if role == "prompter" else f"m{number}prompter",
                "text": e.question if role == "prompter" else e.good,
                "role": role,
                "lang": "en",
                "review_count": 3,
                "deleted": False,
                "rank": None if role == "prompter" else 0,
                "message_tree_id": f"m{number}prompter",
            }
            for number, e in enumerate(EXCHANGES)
            for role in ("prompter", "assistant")
        ],
        nonsense={"sft": ONE_TURN_A_ROW},
    ),
    ZooSet(
        name="the_stack",
        like="bigcode/the-stack-smol",
        rows=[
            {
                "content": snippet,
                "avg_line_length": 20.5,
                "max_line_length": 31,
                "alphanum_fraction": 0.6,
                "licenses": ["MIT"],
                "repository_name": "someone/boats",
                "path": f"src/{number}.txt",
                "size": len(snippet),
                "lang": "Python",
            }
            for number, snippet in enumerate(SNIPPETS)
        ],
        sft="mapped",
        teaches="return 2 * x",
    ),
    ZooSet(
        name="github_code",
        like="codeparrot/github-code",
        rows=[
            {"code": s, "repo_name": "someone/boats", "path": "a.py", "language": "Python", "license": "mit", "size": 9}
            for s in SNIPPETS
        ],
        sft="mapped",
        teaches="return 2 * x",
    ),
    ZooSet(
        name="imdb",
        like="stanfordnlp/imdb: a class beside the text, which a plain text training ignores",
        rows=[{"text": text, "label": number % 2} for number, text in enumerate(TEXTS)],
        sft="ready",
        teaches=TEXTS[0],
    ),
    ZooSet(
        name="classes_called_labels",
        like="SetFit sets: TRL takes `labels` for the labels of tokens",
        rows=[{"text": text, "labels": number % 2, "label_text": "yes"} for number, text in enumerate(TEXTS)],
        sft="mapped",
        teaches=TEXTS[0],
    ),
    ZooSet(
        name="sst2",
        like="stanfordnlp/sst2",
        rows=[{"idx": number, "sentence": text, "label": number % 2} for number, text in enumerate(TEXTS)],
    ),
    ZooSet(
        name="mnli",
        like="nyu-mll/glue mnli",
        rows=[
            {"premise": e.good, "hypothesis": e.bad, "label": number % 3, "idx": number}
            for number, e in enumerate(EXCHANGES)
        ],
    ),
    ZooSet(
        name="wmt",
        like="wmt/wmt14",
        rows=[{"translation": {"de": "Das ist ein Farn.", "en": "This is a fern."}} for _ in NUMBERS],
    ),
    ZooSet(
        name="retrieval_triples",
        like="sentence-transformers/all-nli triplet",
        rows=[{"anchor": e.question, "positive": e.good, "negative": e.bad} for e in EXCHANGES],
    ),
    ZooSet(
        name="bge_triples",
        like="BAAI's bge training data: a query with lists of passages; a query is a prompt",
        rows=[{"query": e.question, "pos": [e.good], "neg": [e.bad, TEXTS[0]]} for e in EXCHANGES],
        grpo="mapped",
    ),
    ZooSet(
        name="xsum",
        like="EdinburghNLP/xsum: nothing says which of the two is learned",
        rows=[{"document": text * 2, "summary": text[:30], "id": str(n)} for n, text in enumerate(TEXTS)],
    ),
    ZooSet(
        name="ner_tokens",
        like="conll2003",
        rows=[{"id": str(n), "tokens": t.split(), "ner_tags": [0] * len(t.split())} for n, t in enumerate(TEXTS)],
    ),
    ZooSet(
        name="tokenised",
        like="sets that were tokenised by somebody else",
        rows=[
            {"input_ids": list(range(5 + n, 25 + n)), "attention_mask": [1] * 20, "labels": list(range(5 + n, 25 + n))}
            for n in NUMBERS
        ],
        nonsense={"sft": FOREIGN_TOKENS},
    ),
    ZooSet(
        name="tokenised_without_labels",
        like="packed pretraining sets: input_ids alone",
        rows=[{"input_ids": list(range(5 + n, 25 + n))} for n in NUMBERS],
        nonsense={"sft": FOREIGN_TOKENS},
    ),
    ZooSet(
        name="tokens_beside_the_text",
        like="sets that keep the text beside another model's tokens",
        rows=[{"text": text, "input_ids": [7, 8, 9], "attention_mask": [1, 1, 1]} for text in TEXTS],
        sft="mapped",
        teaches=TEXTS[0],
    ),
    ZooSet(
        name="blank_texts",
        like="a scraper that found nothing",
        rows=[{"text": text} for text in ("", " ", "\n", "")],
        nonsense={"sft": NOTHING_BUT_ENDS},
    ),
    ZooSet(
        name="text_of_turns",
        like="a column `text` that holds turns instead of text",
        rows=[{"text": [user(text)]} for text in TEXTS],
    ),
)
