"""Failures of the machine: memory, disk, signals, processes that work together, packages that cannot be installed."""

from __future__ import annotations

import signal

from .making import Case

TORCH = ("torch",)

_RENDEZVOUS = """
import datetime, os, sys
import torch, torch.distributed as dist
dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=4))
rank = dist.get_rank()
"""
_SELECT = """
import time
from datasets import Dataset
if os.environ.get("RANK", "1") == "1":
    Dataset.from_list([{"a": 1}]).select_columns(["text"])
time.sleep(20)
"""
_UV = ("uv", "run", "--no-project", "--no-cache", "train.py")


def _inline(*requirements: str, python: str = ">=3.11") -> str:
    listed = "".join(f'#     "{requirement}",\n' for requirement in requirements)
    return f'# /// script\n# requires-python = "{python}"\n# dependencies = [\n{listed}# ]\n# ///\nprint("up")\n'


CASES = (
    # --- memory
    Case(
        name="host_memory_of_torch",
        failure="host_memory",
        packages=TORCH,
        script="""
import torch
print('loading', flush=True)
held = [torch.ones(2**26) for _ in range(40)]
""",
        memory_gib=2.5,
    ),
    Case(
        name="host_memory_in_python",
        failure="host_memory",
        packages=TORCH,
        script="""
rows = []
while True:
    rows.append('x' * 2**24)
""",
        memory_gib=0.5,
    ),
    Case(
        name="host_memory_of_numpy",
        failure="host_memory",
        packages=("numpy",),
        script="""
import numpy
numpy.ones((200_000, 200_000))
""",
        memory_gib=2.0,
    ),
    Case(
        name="host_memory_for_a_fork",
        failure="host_memory",
        packages=TORCH,
        script="raise OSError(12, os.strerror(12))\n",
    ),
    Case(
        name="loader_worker_killed",
        failure="host_memory",
        packages=TORCH,
        script="""
import signal, torch
class Rows(torch.utils.data.Dataset):
    def __len__(self): return 8
    def __getitem__(self, n): os.kill(os.getpid(), signal.SIGKILL)
next(iter(torch.utils.data.DataLoader(Rows(), num_workers=1)))
""",
    ),
    Case(
        name="loader_worker_lacks_a_column",
        failure="missing_column",
        packages=(*TORCH, "datasets"),
        script="""
import torch
from datasets import Dataset
rows = Dataset.from_list([{'a': 1}] * 8)
class Rows(torch.utils.data.Dataset):
    def __len__(self): return 8
    def __getitem__(self, n): return rows[n]['text']
next(iter(torch.utils.data.DataLoader(Rows(), num_workers=1)))
""",
    ),
    # --- disk
    Case(
        name="disk_full_in_a_checkpoint",
        failure="disk_full",
        packages=("safetensors", "torch"),
        script="""
import torch
from safetensors.torch import save_file
save_file({'a': torch.zeros(2**19)}, f'{SMALL}/model.safetensors')
""",
        small_disk=True,
    ),
    Case(
        name="disk_full_in_optimizer_state",
        failure="disk_full",
        packages=TORCH,
        script="""
import torch
torch.save(torch.zeros(2**19), f'{SMALL}/optimizer.pt')
""",
        small_disk=True,
    ),
    Case(
        name="disk_full_in_a_file",
        failure="disk_full",
        packages=TORCH,
        script="open(f'{SMALL}/heldout.jsonl', 'w').write('x' * 2**21)\n",
        small_disk=True,
    ),
    Case(
        name="disk_full_in_the_dataset_cache",
        failure="disk_full",
        packages=("datasets",),
        script=r"""
from datasets import load_dataset
open('big.jsonl', 'w').write('\n'.join('{"a": "%s"}' % os.urandom(2000).hex() for _ in range(2000)))
load_dataset('json', data_files='big.jsonl', cache_dir=SMALL)
""",
        small_disk=True,
    ),
    Case(
        name="disk_read_only",
        failure="not_writable",
        packages=TORCH,
        script="""
import subprocess
subprocess.run(['mount', '-o', 'remount,ro', SMALL], check=True)
open(f'{SMALL}/result.json', 'w')
""",
        small_disk=True,
    ),
    Case(
        name="files_all_open",
        failure="open_files",
        packages=TORCH,
        script="""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
held = [open(CHATS) for _ in range(40)]
""",
    ),
    # --- ends that have no words of their own
    Case(
        name="killed_by_someone",
        failure="killed",
        packages=TORCH,
        script="""
import time
print("{'loss': '2.1', 'epoch': '0.1'}", flush=True)
time.sleep(60)
""",
        kill=signal.SIGKILL,
    ),
    Case(
        name="terminated_by_someone",
        failure="preempted",
        packages=TORCH,
        script="""
import time
print("{'loss': '2.1', 'epoch': '0.1'}", flush=True)
time.sleep(60)
""",
        kill=signal.SIGTERM,
    ),
    Case(
        name="segmentation_fault",
        failure="native_crash",
        packages=TORCH,
        script="""
import ctypes, faulthandler
faulthandler.enable()
print('up', flush=True)
ctypes.string_at(0)
""",
    ),
    Case(
        name="aborted",
        failure="native_crash",
        packages=TORCH,
        script="""
print('terminate called after throwing an instance of std::bad_function_call', flush=True)
os.abort()
""",
    ),
    # --- several processes
    Case(
        name="rank_died_of_a_missing_column",
        failure="missing_column",
        packages=("datasets", "torch"),
        script=_SELECT,
        command=("python", "-m", "torch.distributed.run", "--nproc-per-node", "2", "train.py"),
    ),
    Case(
        name="launched_process_misses_a_column",
        failure="missing_column",
        packages=("accelerate", "datasets"),
        script=_SELECT,
        command=("accelerate", "launch", "--cpu", "train.py"),
    ),
    Case(
        name="launched_process_fails_for_its_own_reasons",
        failure="none",
        packages=("accelerate",),
        script="print(1 / 0)\n",
        command=("accelerate", "launch", "--cpu", "train.py"),
    ),
    Case(
        name="rank_killed",
        failure="rank_died",
        packages=("torch",),
        script="""
import os, signal, time
if os.environ['RANK'] == '1':
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(20)
""",
        command=("python", "-m", "torch.distributed.run", "--nproc-per-node", "2", "train.py"),
    ),
    Case(
        name="gloo_waits_in_vain",
        failure="collective",
        packages=TORCH,
        script=_RENDEZVOUS
        + """
import time
if rank == 1:
    time.sleep(12)
dist.all_reduce(torch.ones(2))
""",
        command=("python", "-m", "torch.distributed.run", "--nproc-per-node", "2", "train.py"),
    ),
    Case(
        name="gloo_peer_is_gone",
        failure="collective",
        packages=TORCH,
        script=_RENDEZVOUS
        + """
if rank == 1:
    os._exit(0)
dist.all_reduce(torch.ones(2))
""",
        command=("python", "-m", "torch.distributed.run", "--nproc-per-node", "2", "train.py"),
    ),
    Case(
        name="rendezvous_alone",
        failure="collective",
        packages=TORCH,
        script="""
import datetime, os
import torch.distributed as dist
os.environ |= {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': '29555', 'RANK': '0', 'WORLD_SIZE': '2'}
dist.init_process_group('gloo', timeout=datetime.timedelta(seconds=3))
""",
    ),
    # --- GPUs that are not there
    Case(
        name="no_gpu_in_this_build",
        failure="no_gpu",
        packages=TORCH,
        script="""
import torch
torch.zeros(1).to('cuda')
""",
    ),
    Case(
        name="checkpoint_from_a_gpu",
        failure="no_gpu",
        packages=TORCH,
        script="""
import torch
torch._utils
from torch.serialization import _deserialize
from torch.serialization import default_restore_location
default_restore_location(torch.zeros(1).untyped_storage(), 'cuda:0')
""",
    ),
    # --- packages
    Case(
        name="uv_versions_conflict",
        failure="unsolvable",
        packages=("uv",),
        script=_inline("trl==1.16.0", "transformers==4.30.0"),
        command=_UV,
    ),
    Case(
        name="uv_package_unknown",
        failure="unsolvable",
        packages=("uv",),
        script=_inline("trl==1.16.999"),
        command=_UV,
    ),
    Case(
        name="uv_index_not_reachable",
        failure="network",
        packages=("uv",),
        script=_inline("trl==1.16.0"),
        command=(*_UV[:-1], "--index-url", "http://127.0.0.1:9/simple", "train.py"),
        environment=(("UV_HTTP_RETRIES", "0"),),
    ),
)
