"""Our client against lm-eval's own: the same server, questions, decoding and slots; items a second, and the scores.

    python tests/bench/eval.py [--model FOLDER] [--items 60]

Wall-clock times on a busy machine vary; the two are run in turns, so that the ratio is fair.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from ftagent.tools.evaluation.client import Decoding, Question, answer_all
from ftagent.tools.evaluation.models import QUANTISATION, SLOTS
from ftagent.tools.llama_cpp import convert, serve
from ftagent.tools.packaged import *  # noqa: F403
from ftagent.tools.settings import Settings
from ftagent.tools.worker import run_worker

TOKENS = 24
TASK = """
task: sums
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n\\n"], max_gen_toks: {tokens}, do_sample: false, temperature: 0}}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    regexes_to_ignore: ["[^0-9]"]
"""
