# Needs Python 3.11+ and make, nothing else. Everything is installed into .venv, pinned by constraints.txt.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

DEMO = fine-tune SmolLM2-135M-Instruct on examples/docstrings.jsonl, compare it with the base model and export it to GGUF

.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\#.*/\1/p' $(firstword $(MAKEFILE_LIST)))

help:            ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: $(VENV)/.demo            ## fine-tune, evaluate and export a small real model on this machine
	$(BIN)/ftagent "$(DEMO)" --yes

test: $(VENV)/.dev             ## the whole test suite
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(VENV)/.dev        ## tests that take minutes
	$(BIN)/python -m pytest -m slow

fuzz: $(VENV)/.dev             ## the tests that draw their examples, with new ones each time
	HYPOTHESIS_PROFILE=new $(BIN)/python -m pytest -m "not slow" -q $$(grep -rl "^from hypothesis" tests --include=test_*.py)

check: $(VENV)/.dev            ## format, lint, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/python -m pytest -m "not slow"

format: $(VENV)/.dev           ## put the code into the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev            ## what `import ftagent` and `ftagent --help` cost over a bare Python
	$(BIN)/python tests/bench/startup.py

bench-memory: $(VENV)/.dev     ## the memory arithmetic against what the trainers' tensors really took (MEASURE=1 takes it anew)
	$(BIN)/python tests/bench/memory.py $(if $(MEASURE),--measure)

bench-zoo: $(VENV)/.dev        ## our verdict on every dataset of the zoo against what TRL does with it
	$(BIN)/python tests/zoo/bench.py

bench-failures: $(VENV)/.dev   ## the failure classes against the corpus of ended jobs
	$(BIN)/python tests/failures/bench.py

bench-methods: $(VENV)/.dev    ## a whole run of every method on a small real model; about 40 minutes (ONLY=dpo for one)
	$(BIN)/python tests/bench/methods.py $(if $(ONLY),--only $(ONLY))

bench-preflight: $(VENV)/.dev  ## mutants that preflight must stop, and sound runs that it must not; about 5 minutes
	$(BIN)/python tests/mutants/bench.py $(ONLY)

bench-data: $(VENV)/.dev       ## the full scan and the sampled verdict on a million chats, beside TRL's own preparation
	$(BIN)/python tests/bench/data.py

bench-sandbox: $(VENV)/.dev    ## attacks on the sandbox in every jail that this machine has, and items a second
	$(BIN)/python tests/bench/sandbox.py

bench-eval: $(VENV)/.dev       ## our client against lm-eval's own, on the same server: items a second and scores
	$(PIP) --editable '.[local,demo,eval]'
	$(BIN)/python tests/bench/eval.py

bench-export: $(VENV)/.dev     ## the quantisation table: size, perplexity against the merged model, agreement, tokens/s
	$(BIN)/python tests/bench/export.py

bench-faults: $(VENV)/.dev     ## every fault on every call of a job on the Hub, and how the run comes through (minutes)
	$(BIN)/python tests/bench/faults.py

bench-kills: $(VENV)/.dev      ## ftagent killed at each line of its journal, over a whole run on the Hub (EACH=1: a run of its own for each)
	$(BIN)/python tests/bench/kills.py $(if $(EACH),--each)

bench-planner: $(VENV)/.dev    ## a 135M model as planner, with rails and without; what refused each injection (minutes)
	$(BIN)/python tests/bench/planner.py $(if $(ONLY),--only $(ONLY))

drift:                         ## the scripts and their preflight against the newest TRL, transformers, peft and accelerate
	test -x $(VENV)-drift/bin/python || $(PYTHON) -m venv $(VENV)-drift
	$(VENV)-drift/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 --editable '.[local,dev]'
	$(VENV)-drift/bin/python -m pip install --quiet --disable-pip-version-check --upgrade torch==2.13.0 trl transformers peft accelerate datasets trackio
	$(VENV)-drift/bin/python -m pip freeze | grep -iE '^(trl|transformers|peft|accelerate|datasets|trackio)=='
	$(VENV)-drift/bin/python -m pytest -m "not slow" tests/tools/templates tests/tools/test_preflight.py tests/tools/test_script.py

evals: $(VENV)/.dev            ## the agent on every scenario: LLM=ID for another planner, `smollm2` is served here; PLAIN=1 without rails, EACH=2 for two of a category
	$(BIN)/python -m ftagent.evals $(if $(LLM),--llm $(LLM)) $(if $(PLAIN),--plain) $(if $(ONLY),--only $(ONLY)) $(if $(EACH),--each $(EACH))

record-chat: $(VENV)/.dev     ## a chat in a real terminal on a small model, recorded: examples/chat.cast and chat.md (minutes)
	$(BIN)/python tests/bench/record_chat.py

bench-train: $(VENV)/.dev      ## our script beside `trl sft` and a plain one: trained tokens a second, and held-out loss
	$(BIN)/python tests/bench/train.py

lock:                          ## pin every transitive version anew (needs uv)
	echo torch==2.13.0 | uv pip compile --quiet --constraint - --universal --python-version 3.11 --all-extras pyproject.toml --no-header --no-annotate -o constraints.txt

clean:                         ## remove what the targets made, but no run
	rm -rf $(VENV) *.egg-info build

$(VENV)/.demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[local,demo]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[local,demo,llm,dev]'
	mkdir -p $(VENV)/typing && ln -sfn ../.. $(VENV)/typing/ftagent
	touch $@
