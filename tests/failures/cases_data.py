"""Failures of datasets and of the Hub."""

from __future__ import annotations

import json

from .making import Case

DATASETS = ("datasets",)
HUB = ("huggingface_hub",)

_LOAD = "from datasets import load_dataset\n"
_TWO_SUBSETS = r"""
import pathlib
pathlib.Path('set/a').mkdir(parents=True)
pathlib.Path('set/a/x.jsonl').write_text('{"a": 1}')
head = '---\nconfigs:\n- config_name: one\n  data_files: a/*\n- config_name: two\n  data_files: a/*\n---\n'
pathlib.Path('set/README.md').write_text(head)
"""
_MODEL = "from transformers import AutoModelForCausalLM\nAutoModelForCausalLM.from_pretrained('acme/model')\n"
_PUSH = "from huggingface_hub import HfApi\nHfApi().upload_folder(repo_id='acme/tuned', folder_path=MODEL)\n"
_RETRIED = (("HF_HUB_DOWNLOAD_TIMEOUT", "2"), ("HF_HUB_ETAG_TIMEOUT", "2"))


def _refused(
    status: int, code: str = "", message: str = "", **more: str
) -> tuple[tuple[str, int, dict[str, str]], ...]:
    headers = {name: value for name, value in (("x-error-code", code), ("x-error-message", message)) if value}
    return (("", status, headers | more),)


_MADE = ("POST /api/repos/create", 200, {"body": '{"url": "http://127.0.0.1/acme/tuned", "repo_id": "acme/tuned"}'})
_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", "generation_config.json")
_PLAIN = json.dumps({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in _FILES]})
_REGULAR = ("POST .*/preupload/", 200, {"body": _PLAIN})

CASES = (
    # --- datasets
    Case(
        name="split_unknown",
        failure="dataset_part",
        packages=DATASETS,
        script=_LOAD + "load_dataset('json', data_files=CHATS, split='test')\n",
    ),
    Case(
        name="subset_unknown",
        failure="dataset_part",
        packages=DATASETS,
        script=_LOAD + _TWO_SUBSETS + "load_dataset('./set', 'three')\n",
    ),
    Case(
        name="subset_not_given",
        failure="dataset_part",
        packages=DATASETS,
        script=_LOAD + _TWO_SUBSETS + "load_dataset('./set')\n",
    ),
    Case(
        name="data_file_missing",
        failure="not_found",
        packages=DATASETS,
        script=_LOAD + "load_dataset('json', data_files='gone.jsonl')\n",
    ),
    Case(
        name="json_row_broken",
        failure="broken_rows",
        packages=DATASETS,
        script=_LOAD
        + r"""
open('bad.jsonl', 'w').write('{"a": 1}\n{"a": \n')
load_dataset('json', data_files='bad.jsonl')
""",
    ),
    Case(
        name="rows_of_two_schemas",
        failure="broken_rows",
        packages=DATASETS,
        script=_LOAD
        + r"""
open('a.csv', 'w').write('x,y\n1,2\n')
open('b.csv', 'w').write('x,z\n1,2\n')
load_dataset('csv', data_files=['a.csv', 'b.csv'])
""",
    ),
    Case(
        name="dataset_script",
        failure="dataset_script",
        packages=DATASETS,
        script=_LOAD
        + """
import pathlib
pathlib.Path('old').mkdir()
pathlib.Path('old/old.py').write_text('import datasets')
load_dataset('./old/old.py')
""",
    ),
    Case(
        name="mapping_needs_a_column",
        failure="missing_column",
        packages=DATASETS,
        script=_LOAD
        + """
rows = load_dataset('json', data_files=CHATS, split='train')
rows.map(lambda row: {'text': row['instruction']})
""",
    ),
    Case(
        name="mapping_in_two_processes",
        failure="missing_column",
        packages=DATASETS,
        script=_LOAD
        + """
rows = load_dataset('json', data_files=CHATS, split='train')
rows.map(lambda row: {'text': row['instruction']}, num_proc=2)
""",
    ),
    Case(
        name="column_selected_that_is_not_there",
        failure="missing_column",
        packages=DATASETS,
        script=_LOAD + "load_dataset('json', data_files=CHATS, split='train').select_columns(['prompt'])\n",
    ),
    # --- the Hub
    Case(name="model_not_found", failure="not_found", packages=HUB, script=_MODEL, hub=_refused(404, "RepoNotFound")),
    Case(
        name="dataset_not_found",
        failure="not_found",
        packages=(*DATASETS, *HUB),
        script=_LOAD + "load_dataset('acme/rows')\n",
        hub=_refused(404, "RepoNotFound"),
    ),
    Case(
        name="revision_not_found",
        failure="not_found",
        packages=HUB,
        script="""
from huggingface_hub import snapshot_download
snapshot_download('acme/model', revision='v9')
""",
        hub=_refused(404, "RevisionNotFound", "Invalid rev id: v9"),
    ),
    Case(
        name="model_gated",
        failure="gated",
        packages=HUB,
        script=_MODEL,
        hub=_refused(
            403, "GatedRepo", "Access to model acme/model is restricted and you are not in the authorized list."
        ),
    ),
    Case(
        name="dataset_gated",
        failure="gated",
        packages=(*DATASETS, *HUB),
        script=_LOAD + "load_dataset('acme/rows')\n",
        hub=_refused(401, "GatedRepo", "Access to dataset acme/rows is restricted. You must be authenticated."),
    ),
    Case(
        name="token_invalid",
        failure="no_token",
        packages=HUB,
        script="""
from huggingface_hub import HfApi
HfApi().whoami()
""",
        hub=_refused(401, "", "Invalid username or password."),
    ),
    Case(
        name="token_missing",
        failure="no_token",
        packages=HUB,
        script="""
from huggingface_hub import get_token, HfApi
os.environ.pop('HF_TOKEN', None)
HfApi(token=True).create_repo('acme/tuned')
""",
        environment=(("HF_ENDPOINT", "http://127.0.0.1:9"),),
    ),
    Case(
        name="push_with_a_read_token",
        failure="no_write",
        packages=HUB,
        script="""
from huggingface_hub import HfApi
HfApi().create_repo('acme/tuned')
""",
        hub=_refused(403, "", 'You don\'t have the rights to create a model under the namespace "acme"'),
    ),
    Case(
        name="commit_forbidden",
        failure="no_write",
        packages=HUB,
        script=_PUSH,
        hub=(_MADE, _REGULAR, *_refused(403, "", "Forbidden: you must use a write token to upload to a repository.")),
    ),
    Case(
        name="commit_overtaken",
        failure="push_conflict",
        packages=HUB,
        script=_PUSH,
        hub=(
            _MADE,
            _REGULAR,
            *_refused(412, "", "A commit has happened since. Please refresh and try again."),
        ),
    ),
    Case(
        name="commit_too_large",
        failure="push_rejected",
        packages=HUB,
        script=_PUSH,
        hub=(_MADE, _REGULAR, *_refused(413, "", "request entity too large")),
    ),
    Case(
        name="commit_with_a_bad_card",
        failure="push_rejected",
        packages=HUB,
        script=_PUSH,
        hub=(_MADE, _REGULAR, *_refused(400, "", '"license" must be one of [apache-2.0, mit]')),
    ),
    Case(
        name="storage_used_up",
        failure="storage_quota",
        packages=HUB,
        script=_PUSH,
        hub=(
            _MADE,
            _REGULAR,
            *_refused(403, "", "Private repository storage limit reached, please upgrade your plan."),
        ),
    ),
    Case(
        name="payment_required",
        failure="payment",
        packages=HUB,
        script="""
from huggingface_hub import HfApi
HfApi().run_job(image='python:3.12', command=['python'], namespace='acme')
""",
        hub=_refused(402, "", "Pre-paid credit balance is insufficient"),
    ),
    Case(
        name="too_many_requests",
        failure="rate_limited",
        packages=HUB,
        script="""
from huggingface_hub import HfApi
HfApi().list_repo_commits('acme/model')
""",
        hub=_refused(429, "", "We had to rate limit you, you hit the quota of 1000 api requests per 5 minutes period."),
    ),
    Case(
        name="hub_internal_error",
        failure="server_error",
        packages=HUB,
        script="""
from huggingface_hub import HfApi
HfApi().whoami()
""",
        hub=_refused(500, "", "Internal Error - We're working hard to fix this as soon as possible!"),
    ),
    Case(
        name="hub_bad_gateway_on_push",
        failure="server_error",
        packages=HUB,
        script="""
from huggingface_hub import HfApi
HfApi().create_repo('acme/tuned')
""",
        hub=_refused(502, body="<html><title>502 Bad Gateway</title></html>"),
    ),
    Case(
        name="hub_not_reachable",
        failure="network",
        packages=HUB,
        script="""
from huggingface_hub import HfApi
HfApi().model_info('acme/model')
""",
        environment=(("HF_ENDPOINT", "http://127.0.0.1:9"),),
    ),
    Case(
        name="model_not_reachable",
        failure="network",
        packages=("transformers", *HUB),
        script=_MODEL,
        environment=(("HF_ENDPOINT", "http://127.0.0.1:9"),),
    ),
    Case(
        name="hub_name_not_resolved",
        failure="network",
        packages=HUB,
        script="""
from huggingface_hub import HfApi
HfApi().model_info('acme/model')
""",
        environment=(("HF_ENDPOINT", "http://hub.invalid"),),
    ),
    Case(
        name="connection_breaks_in_a_body",
        failure="network",
        packages=HUB,
        script="""
from huggingface_hub import HfApi
HfApi().model_info('acme/model')
""",
        hub=_refused(200, body='{"id": "acme/mod', cut=""),
    ),
    Case(
        name="hub_offline_by_setting",
        failure="network",
        packages=HUB,
        script="""
from huggingface_hub import snapshot_download
snapshot_download('acme/model')
""",
        environment=(("HF_HUB_OFFLINE", "1"),),
    ),
)
