"""Does this data train with this method? Read its values, map its rows, and let TRL itself say yes or no."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import InputError, ToolError
from .facts import DatasetRef, DatasetReport, Holdout, Lengths, Problem, Spec
from .gates import require
from .run import Run
from .shapes import FILTERS, HOLDOUTS, MAPPINGS, Refusal, Row, Shape, one_line, recognise, source_of
