# Every command of this project. Each one makes or refreshes .venv first, which is instant if nothing has changed.
.DEFAULT_GOAL := help
.PHONY: help demo test test-trials test-slow study-kto compare study-rounds study-edits bench-ingest bench-import bench-labels bench-snapshot bench-lookups bench-gateway bench-redaction bench-export bench-evaluation bench-train bench-train-gpu chaos chaos-serving hostile real-feedback real-text families verify-vllm check up migrate openapi lock docker-config venv
# Keep compiled modules, whatever the environment says: torch then imports in half the time.
unexport PYTHONDONTWRITEBYTECODE
PYTHON_VENV := .venv/bin/python

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-22s%s\n", $$1, $$2 }'

venv: ## make .venv with every pinned dependency
	@tools/bootstrap

demo: venv ## the whole loop in six minutes on simulated users; options in ARGS, for example ARGS=--keep
	@$(PYTHON_VENV) -m app.cli.main demo $(ARGS)

# Three processes keep two cores busy: a quarter of the time of a test is waiting for servers.
test: venv ## every test but the trials, on real servers started for them; narrow it by ARGS, for example ARGS="tests/labels -x"
	@$(PYTHON_VENV) -m pytest -n 3 --dist loadgroup --no-loadscope-reorder -m "not slow and not trial" $(ARGS)

test-trials: venv ## the trials, which CI runs too: kills, whole stories, ranks, fifty steps beside TRL, in ten minutes
	@$(PYTHON_VENV) -m pytest -n 2 --dist loadgroup --no-loadscope-reorder -m trial $(ARGS)

test-slow: venv ## the tests that take minutes: the whole demo, with its figures asserted
	@$(PYTHON_VENV) -m pytest -m slow $(ARGS)

study-kto: venv ## KTO against the claims of its paper, on the demo's support desk, in about twenty minutes; a part with ONLY=baseline,no-z0 SEEDS=1
	@$(PYTHON_VENV) -m benchmarks.study_kto $(if $(ONLY),--only $(ONLY)) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

compare: venv ## eleven ways to use feedback, KTO and DPO among them, on the demo's support desk; QUICK=1 takes a quarter of an hour; a part with ONLY=kto,sft SEEDS=1,2
	@$(PYTHON_VENV) -m benchmarks.compare $(if $(ONLY),--only $(ONLY)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(QUICK),--quick) $(ARGS)

study-rounds: venv ## what makes later rounds of the loop better, on the demo's support desk; QUICK=1: one seed, three rounds; a part with ONLY=all-votes SEEDS=1,2
	@$(PYTHON_VENV) -m benchmarks.rounds $(if $(ONLY),--only $(ONLY)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(QUICK),--quick) $(ARGS)

study-edits: venv ## what it gives to punish only what an edit changed, on post-edits of translations, in ten minutes; a part with SEEDS=1
	@OMP_NUM_THREADS=1 $(PYTHON_VENV) -m benchmarks.edits $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

bench-ingest: venv ## events a second, single and in batches, against an endpoint that stores nothing, an ORM and COPY; QUICK=1 takes three minutes
	@$(PYTHON_VENV) -m benchmarks.ingest $(if $(QUICK),--quick) $(ARGS)

bench-import: venv ## the rate and the memory of an import of 1 GB, against the batch endpoint; ARGS="--megabytes 100" takes a minute
	@$(PYTHON_VENV) -m benchmarks.imports $(ARGS)

bench-labels: venv ## the cost of labels of a million events, against reading the events; QUICK=1 takes fewer events
	@$(PYTHON_VENV) -m benchmarks.labels $(if $(QUICK),--quick) $(ARGS)

bench-snapshot: venv ## the cost of a snapshot of a million events, against copying them to parquet; QUICK=1 takes fewer events, NIGHTLY=1 also ten million
	@$(PYTHON_VENV) -m benchmarks.snapshots $(if $(QUICK),--quick) $(if $(NIGHTLY),--nightly) $(ARGS)

bench-lookups: venv ## the time of lookups in a log of a million events; QUICK=1 takes fewer events, NIGHTLY=1 also ten million
	@$(PYTHON_VENV) -m benchmarks.lookups $(if $(QUICK),--quick) $(if $(NIGHTLY),--nightly) $(ARGS)

bench-gateway: venv ## what the gateway adds to 50 streams, against the same calls without it, in two minutes; QUICK=1 takes one round
	@$(PYTHON_VENV) -m benchmarks.gateway $(if $(QUICK),--quick) $(ARGS)

bench-redaction: venv ## precision, recall and speed of the detectors of personal data and secrets, in a minute; QUICK=1 takes seconds
	@$(PYTHON_VENV) -m benchmarks.redaction $(if $(QUICK),--quick) $(ARGS)

bench-export: venv ## the time and memory of an export of a million events, and of its import; QUICK=1 takes fewer events
	@$(PYTHON_VENV) -m benchmarks.export $(if $(QUICK),--quick) $(ARGS)

bench-evaluation: venv ## the time of an evaluation's samples against a training's, and our sampler against transformers.generate; QUICK=1 takes fewer prompts
	@$(PYTHON_VENV) -m benchmarks.evaluation $(if $(QUICK),--quick) $(ARGS)

bench-train: venv ## our trainer against TRL's: speed, memory, an ablation; a part in three minutes with ONLY=m15_bf16_lora; --thorough, --profile in ARGS
	@$(PYTHON_VENV) -m benchmarks.train $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick) $(ARGS)

bench-train-gpu: venv ## the same on one CUDA GPU with models of 0.5, 1.5 and 8 billion parameters
	@$(PYTHON_VENV) -m benchmarks.train --gpu $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick) $(ARGS)

chaos: venv ## 50 runs while workers, servers and disks are killed, stopped, frozen or filled, in a quarter of an hour; RUNS=4, SEED=1, ARGS
	@$(PYTHON_VENV) -m tests.chaos.runs $(if $(RUNS),--runs $(RUNS),--results benchmarks/results/chaos.json) $(if $(SEED),--seed $(SEED)) $(ARGS)

chaos-serving: venv ## kill -9 of worker, API and serving targets under 30 releases, in some minutes; KILLS=3, SEED=1, ARGS
	@$(PYTHON_VENV) -m tests.chaos.serving $(if $(KILLS),--kills $(KILLS),--results benchmarks/results/chaos-serving.json) $(if $(SEED),--seed $(SEED)) $(ARGS)

hostile: venv ## hostile requests to every operation of the API, then a crowd of 1,000 readers, in five minutes; SEED=1, ARGS
	@$(PYTHON_VENV) -m tests.hostile $(if $(SEED),--seed $(SEED)) $(ARGS)

real-feedback: venv ## import whole files of real feedback and check their labels, pairs and splits, in a quarter of an hour; DATA=folder ARGS
	@$(PYTHON_VENV) -m tests.real_feedback $(if $(DATA),--data $(DATA)) $(ARGS)

real-text: venv ## KTO on real ratings of chat messages, against readers that know nothing, in half an hour; SWEEP=1 tries other recipes; DATA=folder SEEDS=1 ARGS
	@$(PYTHON_VENV) -m benchmarks.real_text $(if $(DATA),--data $(DATA)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SWEEP),--sweep) $(ARGS)

families: venv ## every model family of transformers, packed, padded or refused, against single rows, in a quarter of an hour; a part with ONLY=llama,gptj
	@$(PYTHON_VENV) -m tests.families $(if $(ONLY),--only $(ONLY)) $(ARGS)

verify-vllm: venv ## adapters of the trainer on a real vLLM, loaded, probed and refused, in minutes; VLLM=/path/to/venv/bin/vllm
	@VLLM=$(or $(VLLM),$(error name vLLM's program: make verify-vllm VLLM=/path/to/venv/bin/vllm)) $(PYTHON_VENV) -m pytest -m trial tests/serving/test_real_servers.py tests/gateway/test_real_vllm.py -k vllm -s $(ARGS)

check: venv ## style, types, import contracts, migrations, docstrings, compose file: everything that CI checks except the tests
	@$(PYTHON_VENV) -m ruff check .
	@$(PYTHON_VENV) -m ruff format --check --quiet .
	@$(PYTHON_VENV) -m mypy
	@.venv/bin/lint-imports
	@PYTHONPATH=. $(PYTHON_VENV) tools/embedded.py sh -c '$(PYTHON_VENV) -m alembic upgrade head && $(PYTHON_VENV) -m alembic check'
	@PYTHONPATH=. $(PYTHON_VENV) tools/openapi.py --check
	@$(PYTHON_VENV) tools/docstrings.py
	@$(MAKE) --no-print-directory docker-config

up: venv ## Postgres, Redis, API, worker and beat in this terminal; options in ARGS, for example ARGS="--port 8080"
	@$(PYTHON_VENV) -m app.cli.main up $(ARGS)

migrate: venv ## migrate the database of THUMBWHEEL_DATABASE_URL to the newest tables
	@$(PYTHON_VENV) -m app.cli.main migrate

openapi: venv ## write docs/openapi.json, the contract of the API, from the code
	@PYTHONPATH=. $(PYTHON_VENV) tools/openapi.py

lock: venv ## write constraints.txt from pyproject.toml; UPGRADE=1 takes the newest versions
	@tools/lock $(if $(UPGRADE),--upgrade)

docker-config: venv ## check docker-compose.yml, also with docker if it is installed
	@$(PYTHON_VENV) -m check_jsonschema --builtin-schema vendor.compose-spec docker-compose.yml deploy/compose.gpu.yml
	@if docker compose version >/dev/null 2>&1; then POSTGRES_PASSWORD=x REDIS_PASSWORD=x docker compose config --quiet; fi
