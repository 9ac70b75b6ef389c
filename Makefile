# FastGPU for Jupyter: everything a contributor runs.
#
#   make lab          build, install into .venv and open JupyterLab     (ARGS="--no-browser" and the like are passed on)
#   make test         every check there is, as continuous integration runs them
#   make test-quick   the tests that need no browser and no patience
#   make test-long    the proofs that nothing is lost, for a night    (PART=kill runs one part; see tests/crash/README.md)
#   make test-gpu     what only a real NVIDIA GPU can show; it changes no setting of it
#   make test-versions   private parts of other libraries, on their oldest and newest versions
#   make test-nbclient    nbclient's own tests on FastGPU's kernel, compared with ipykernel's
#   make screenshots  pictures of every surface in light, dark and Chinese, into screenshots/
#   make docs         build the documentation into build/docs; warnings are errors
#   make lint         formatting, linters and types only
#   make generate     the TypeScript sources that are made from definitions in Python
#   make golden       the golden journal of what is not released yet, after new events
#   make clean        forget everything that was built
#
# Each step leaves a stamp in .make/ and runs again only when something that it reads has changed.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
#: The devices to pretend where the machine has no NVIDIA driver.
SIMULATE ?= 2xA100-80GB
#: Passed on to jupyter lab.
ARGS ?=
#: Passed on to pytest.
TESTS ?=
#: How many tests run side by side: more than two processors, as many tests wait for processes.
WORKERS ?= 4
#: Requirements that test-versions installs besides, such as "torch jax".
FRAMEWORKS ?=

VENV := .venv
BIN := $(VENV)/bin
# An activated environment or a PYTHONPATH of somebody else must not leak into ours.
unexport PYTHONPATH VIRTUAL_ENV
# Without bytecode each process that a test starts compiles the package again, and each worker all tests.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

package := $(shell find fastgpu_jupyter \( -name labextension -o -path '*/widget/static' -o -name __pycache__ \) -prune -o -type f -print)
frontend := $(shell find labextension \( -name node_modules -o -name lib -o -name 'build*' -o -name 'test*' \
	-o -name coverage -o -name '*.tsbuildinfo' \) -prune -o -type f -print)
shared := $(shell find kernels jupyter-config -type f) LICENSE README.md pyproject.toml

step = @printf '\n==> %s\n' $(1)

.PHONY: help docs generate golden lab test test-quick test-long test-gpu test-versions test-nbclient lint clean browser slurm network
.PHONY: screenshots
help:
	@sed -n '3,15s/^# *//p' Makefile

# --- what the others stand on -----------------------------------------------------------------------------------------

.make/venv: constraints.txt
	$(call step,'Making the virtual environment $(VENV)')
	@command -v $(PYTHON) >/dev/null || { echo 'FastGPU needs Python 3.11 or newer; $(PYTHON) was not found. Install it and run make again.'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "FastGPU needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Name a newer one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo 'Python comes without its venv module here. Install it (Debian, Ubuntu: apt-get install python3-venv) and run make again.'; exit 1; }
	@mkdir -p .make
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt hatchling hatch-jupyter-builder jupyter-builder
	@touch $@

.make/node: labextension/package.json labextension/package-lock.json labextension/.npmrc
	$(call step,'Fetching what the front end is built with')
	@command -v node >/dev/null && command -v npm >/dev/null || { echo 'The front end is built with Node.js 20 or newer and npm, and they were not found. Install them and run make again.'; exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || { echo "The front end is built with Node.js 20 or newer; this is $$(node --version). Install a newer one and run make again."; exit 1; }
	@mkdir -p .make
	cd labextension && npm ci --no-fund --no-audit
	@touch $@

.make/frontend: .make/venv .make/node $(frontend)
	$(call step,'Building the front end')
	rm -rf fastgpu_jupyter/labextension fastgpu_jupyter/kernel/widget/static
	cd labextension && npm run build:prod
	@touch $@

.make/wheel: .make/frontend $(package) $(shared)
	$(call step,'Building the wheel')
	rm -rf dist
	HATCH_JUPYTER_BUILDER_SKIP_NPM=1 $(BIN)/python -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir dist .
	@touch $@

# What the wheel needs is installed only when that can have changed; the wheel itself each time it was built.
.make/needs-%: .make/venv constraints.txt pyproject.toml | .make/wheel
	$(call step,'Installing what fastgpu-jupyter[$*] needs')
	$(BIN)/python -m pip install -c constraints.txt "$$(echo dist/*.whl)[$*]" | sed -u '/^Requirement already satisfied/d;/^ /d' | cut -c1-150
	@touch $@

.make/installed: .make/wheel
	$(call step,'Installing FastGPU into $(VENV)')
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall dist/*.whl
	@touch $@

# --- what people run --------------------------------------------------------------------------------------------------

lab: .make/needs-lab,demo .make/installed
	@told=$$($(BIN)/jupyter fastgpu probe 2>&1) && code=0 || code=$$?; \
	printf '\n==> %s\n' "$$told"; \
	if [[ -n $${FASTGPU_SIMULATE:-} ]]; then \
	  echo "==> FASTGPU_SIMULATE is set: FastGPU simulates $$FASTGPU_SIMULATE."; \
	elif [[ $$code == 3 ]]; then \
	  export FASTGPU_SIMULATE='$(SIMULATE)'; \
	  echo "==> FastGPU simulates $$FASTGPU_SIMULATE here, and labels it (other devices: make lab SIMULATE=4xH100-80GB)."; \
	elif [[ $$code != 0 ]]; then \
	  echo '==> FastGPU does not simulate devices on a machine whose GPUs should work; JupyterLab opens, and FastGPU says there what is wrong.'; \
	fi; \
	exec $(BIN)/jupyter lab $(ARGS)

# Not a prerequisite of the front end: its output is committed, and tests/labextension compares it.
generate: .make/venv .make/node
	$(call step,'Generating TypeScript from the definitions in Python')
	$(BIN)/python -m tests.labextension.generate

golden: .make/needs-dev .make/installed
	$(call step,'Writing the golden journal of what is not released yet')
	$(BIN)/python -m tests.golden.make tests/golden next

lint: .make/needs-dev .make/installed
	$(call step,'Linters and types: Python')
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(call step,'Linters and types: TypeScript')
	cd labextension && npm run --silent lint && npx --no-install tsc --noEmit

browser:
	@.ci/chromium >/dev/null

slurm:
	@.ci/slurm

network:
	@.ci/network

test: browser slurm network lint
	$(call step,'Tests: TypeScript')
	cd labextension && npm run --silent test
	$(call step,'Tests: Python and the browser')
	FASTGPU_CHROMIUM=$$(.ci/chromium) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

test-quick: .make/needs-dev .make/installed
	$(BIN)/python -m pytest -m 'not slow and not browser and not gpu' $(TESTS)

screenshots: browser .make/needs-dev .make/installed
	$(call step,'Pictures of every surface into screenshots/')
	@.ci/cjk-font
	FASTGPU_SURFACES=1 FASTGPU_CHROMIUM=$$(.ci/chromium) $(BIN)/python -m pytest -n0 tests/browser/test_screenshots.py $(TESTS)

docs: .make/needs-dev .make/installed
	$(call step,'Building the documentation into build/docs')
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs
	@echo 'Open build/docs/index.html'

# FRAMEWORKS="torch jax" tests those, too; they are large.
test-versions: .make/wheel
	$(call step,'Oldest and newest versions of the dependencies')
	$(PYTHON) .ci/versions dist/*.whl $(FRAMEWORKS)

test-nbclient: .make/wheel
	$(call step,"nbclient's own tests")
	$(PYTHON) .ci/nbclient dist/*.whl

test-gpu: .make/needs-dev .make/installed
	$(BIN)/python -m pytest -m gpu tests/gpu $(TESTS)

# The long tests in parts, each with its budget; a variable that is set in the environment or on the command line goes
# before it. `make test-long PART=kill FASTGPU_KILL_CYCLES=500` runs a short one.
parts := mutations sim kill failpoints jobs processes flips power hangs openapi cache packaging adoption slurm network
PART ?= $(parts)
tests-of-mutations  := -n $(WORKERS) --dist load tests/crash/test_mutations.py
tests-of-sim        := -n $(WORKERS) --dist load tests/sim tests/core/test_cluster_histories.py \
	tests/pool/clusters/test_day.py
tests-of-kill       := tests/crash/test_kill.py
tests-of-failpoints := tests/crash/test_failpoints.py tests/crash/test_cluster_kills.py
tests-of-jobs       := tests/crash/test_job_kills.py tests/crash/test_job_faults.py tests/jobs/test_end_to_end.py
tests-of-processes  := tests/crash/test_single_instance.py tests/crash/test_holder_identity.py tests/server/test_fork.py \
  tests/server/test_standby.py
tests-of-flips      := tests/crash/test_flips.py tests/crash/test_refusals.py tests/crash/test_missing_journal.py
tests-of-power      := tests/crash/test_power.py
tests-of-hangs      := tests/crash/test_stopped_pool.py tests/crash/test_out_of_descriptors.py \
	tests/core/sizing/test_promises.py tests/core/scheduling/test_queue_report.py tests/pool/http/test_statement_load.py
tests-of-openapi    := -n $(WORKERS) --dist load tests/pool/http/test_openapi.py
tests-of-cache      := tests/jobs/cache tests/jobs/results
tests-of-packaging  := tests/packaging
tests-of-adoption   := tests/crash/test_server_kills.py tests/crash/test_server_failpoints.py
tests-of-slurm      := tests/slurm
tests-of-network    := tests/pool/clusters/test_two_machines.py
FASTGPU_MUTATIONS ?= all
FASTGPU_CACHE_PROGRAMS ?= 20000
FASTGPU_SIM_SEEDS ?= 5000
FASTGPU_SIM_STEPS ?= 2000
FASTGPU_CLUSTER_STORIES ?= 20000
FASTGPU_CLUSTER_DAYS ?= 2000
FASTGPU_KILL_CYCLES ?= 10000
FASTGPU_FAILPOINTS ?= all
FASTGPU_JOB_KILLS ?= all
FASTGPU_JOBS ?= 40
FASTGPU_START_ROUNDS ?= 500
FASTGPU_PID_REUSES ?= 100
FASTGPU_STOPPED_S ?= 120
FASTGPU_FORKS ?= 40
FASTGPU_STANDBY_STARTS ?= 50
FASTGPU_SERVER_KILLS ?= 200
FASTGPU_SERVER_FAILPOINTS ?= all
FASTGPU_FLIPS ?= 1000
FASTGPU_DAMAGED ?= 1000
FASTGPU_POWER_CUTS ?= 10000
FASTGPU_DESCRIPTORS_S ?= 60
FASTGPU_QUEUE_SEEDS ?= 500
FASTGPU_SIZE_SEEDS ?= 1000
FASTGPU_STATEMENT_EVENTS ?= 200000
FASTGPU_OPENAPI_EXAMPLES ?= 500
FASTGPU_FROM_CLONE ?= 1
FASTGPU_SLURM_LONG ?= 1
FASTGPU_PARTITION_S ?= 60
# Each part has its own budgets only: a mutation must be revealed by the short run of a test.
budgets-of-mutations  := FASTGPU_MUTATIONS
budgets-of-sim        := FASTGPU_SIM_SEEDS FASTGPU_SIM_STEPS FASTGPU_CLUSTER_STORIES FASTGPU_CLUSTER_DAYS
budgets-of-kill       := FASTGPU_KILL_CYCLES
budgets-of-failpoints := FASTGPU_FAILPOINTS
budgets-of-jobs       := FASTGPU_JOB_KILLS FASTGPU_JOBS
budgets-of-processes  := FASTGPU_START_ROUNDS FASTGPU_PID_REUSES FASTGPU_STOPPED_S FASTGPU_FORKS FASTGPU_STANDBY_STARTS
budgets-of-flips      := FASTGPU_FLIPS FASTGPU_DAMAGED
budgets-of-power      := FASTGPU_POWER_CUTS
budgets-of-hangs      := FASTGPU_DESCRIPTORS_S FASTGPU_QUEUE_SEEDS FASTGPU_SIZE_SEEDS FASTGPU_STATEMENT_EVENTS
budgets-of-openapi    := FASTGPU_OPENAPI_EXAMPLES
budgets-of-cache      := FASTGPU_CACHE_PROGRAMS
budgets-of-packaging  := FASTGPU_FROM_CLONE
budgets-of-adoption   := FASTGPU_SERVER_KILLS FASTGPU_SERVER_FAILPOINTS
budgets-of-slurm      := FASTGPU_SLURM_LONG
budgets-of-network    := FASTGPU_PARTITION_S

.PHONY: $(parts:%=test-long-%)
test-long: $(PART:%=test-long-%)
$(parts:%=test-long-%): test-long-%: .make/needs-dev .make/installed
	$(call step,'Long tests: $*')
	@began=$$SECONDS; \
	$(foreach name,$(budgets-of-$*),$(name)='$($(name))') \
	  $(BIN)/python -m pytest --timeout 0 $(tests-of-$*) $(TESTS); \
	printf '==> %s: %d s\n' '$*' $$((SECONDS - began))

clean:
	rm -rf .make $(VENV) dist build fastgpu_jupyter/labextension fastgpu_jupyter/kernel/widget/static labextension/node_modules \
	  labextension/lib labextension/build-test labextension/*.tsbuildinfo .mypy_cache .ruff_cache .pytest_cache .hypothesis screenshots
	find . -name __pycache__ -prune -exec rm -rf {} +
