"""A Hub on this machine, which `huggingface_hub`, `datasets`, `transformers` and the `hf` CLI take for the real one.

It keeps models, datasets and spaces in a folder, knows users and tokens with the Hub's roles, and runs jobs for real.
Clients are not modified and nothing is mocked: whatever speaks HTTP with the Hub can be tested against it, ftagent and
what is built on it alike. In a test next to this folder:

    from ..hub import LoopbackHub

    >>> import tempfile
    >>> from pathlib import Path
    >>> hub = LoopbackHub(Path(tempfile.mkdtemp())).__enter__()        # in a test: `with LoopbackHub(tmp_path) as hub:`

**Repositories.** Files are text, bytes, or paths on disk.

    >>> _ = hub.add_repo("dataset", "acme/rows", {"train.jsonl": '{"text": "one"}\\n{"text": "two"}\\n'}, private=True)
    >>> hub.files("dataset", "acme/rows")
    ['.gitattributes', 'train.jsonl']

**Clients.** A process of its own gets `env={**os.environ, **hub.environment(hub.tokens.write)}`. In this very process,
where the libraries have read their environment already, `used_here` points them to the Hub for a while:

    >>> with hub.used_here() as api:
    ...     names = [api.whoami()["name"], api.create_repo("tester/model", private=True).repo_id]
    ...     commit = api.upload_file(repo_id="tester/model", path_in_repo="a.txt", path_or_fileobj=b"hello")
    >>> names, hub.read("model", "tester/model", "a.txt")
    (['tester', 'tester/model'], b'hello')

The user `tester` belongs to `acme` and has the tokens `hub.tokens.write`, `.read`, `.jobs` (fineGrained, may run jobs)
and `.no_jobs`. `hub.people.add` and `.issue` make others; `credits_usd=` makes jobs end with 402 when it is used up.

**Jobs.** A job is a process group with a home of its own, which is gone when it ends; it sees the given environment and
secrets, and `uv run script.py` runs the script with the interpreter of this process. `hub.jobs.scheduling_s` lets jobs
wait before they run, `hub.jobs.vanish(id)` loses one, `hub.jobs.wait(id)` returns it once it has ended. Schedules fire
by the clock, or ahead of it: `hub.schedules.pass_time(until=…)`. A commit fires webhooks.

    >>> with hub.used_here() as api:
    ...     job = api.run_job(image="any", command=["python", "-c", "print(6 * 7)"], namespace="tester")
    >>> hub.jobs.wait(job.id).stage, [line.text for line in hub.jobs.all[job.id].lines]
    ('COMPLETED', ['42'])

**Faults** are scripted by method, path (`*` for anything) and by which request of that kind: see `faults.py`.

    >>> from .faults import Cut, Status
    >>> _ = hub.faults.on("GET", "/api/whoami-v2", Status(429, retry_after_s=1), nth=2)
    >>> lost = hub.faults.on("POST", "/api/jobs/*", Cut())              # the job is made, the answer never arrives
    >>> with hub.used_here() as api:
    ...     _ = api.whoami()
    ...     try:
    ...         api.whoami()
    ...     except Exception as error:
    ...         print(error.response.status_code)
    429
    >>> [seen.status for seen in hub.asked("GET", "/api/whoami-v2")][-2:]
    [200, 429]
    >>> hub.__exit__()

By hand, from the root of the repository: `python -m tests.hub FOLDER` prints what to export, and serves until Ctrl-C.

Left out: Xet storage and buckets (clients need `HF_HUB_DISABLE_XET=1`, which `environment` sets), pull requests and
discussions, the dataset viewer, inference. Where the real server's behaviour is not documented, it is the harsher one.
"""

from __future__ import annotations

from .server import LoopbackHub

__all__ = ["LoopbackHub"]
