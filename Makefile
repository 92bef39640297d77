# SPDX-License-Identifier: GPL-2.0-only
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_PARALLEL ?= --numprocesses auto --maxprocesses 8 --dist worksteal
READY := $(VENV)/.ready

# Where `from linux.x import …`, `from asm.x import …` and the rest of the model's imports are found, per architecture.
model_path = model/linux/arch/$(1)/include:model/linux/include:model/linux:model/hw/$(1):model/stubs/$(1):model:.
ARCHES := $(notdir $(wildcard model/linux/arch/*))
# The files of the model that belong to one architecture or to all.
model_files = $$(find model -name '*.py' $(foreach a,$(filter-out $(1),$(ARCHES)),-not -path '*/$(a)/*' -not -name $(a).py))

# Programs in the dialect that stand alone.
PROGRAMS := bench/two_phase_commit.py bench/peterson.py bench/arm64_asid.py

.PHONY: help setup demo test exhaustive check check-model kernels update docs patches bench reductions clean

help:
	@echo 'make demo    check the bundled tests, then show the lost write of 2022'
	@echo 'make test    run the tests'
	@echo 'make exhaustive  run them on every profile: patches, too'
	@echo 'make check   formatting, lints, types of the tool and of the model'
	@echo 'make kernels boot other kernels of Debian under QEMU, and compare them with the model'
	@echo 'make update  rewrite golden files and litmus/*.expected; then read git diff'
	@echo 'make docs    rewrite the tables that are made from the sources: docs/coverage.md, litmus/README.md'
	@echo 'make patches fit patches whose context has changed to the model; then read git diff'
	@echo 'make bench   states per second on fixed tests, and beside SPIN and Rumur where they are installed'
	@echo 'make agree   what SPIN and Rumur find in exported models: docs/agreement.md'
	@echo 'make reductions  what each reduction is worth on the largest tests: docs/reductions.md'
	@echo 'make setup   the virtual environment in $(VENV), which all of these make first'
	@echo 'make clean   remove what was generated'

setup: $(READY)

$(READY): pyproject.toml
	@echo 'setting up $(VENV)'
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ptelab needs Python 3.11 or newer")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@$(BIN)/python -m compileall -q ptelab  # for those who have Python write nothing beside its sources
	@touch $@

demo: $(READY)
	@$(BIN)/python tools/demo.py

test: $(READY)
	@$(BIN)/python -m pytest $(PYTEST_PARALLEL)

exhaustive: $(READY)
	@$(BIN)/python -m pytest $(PYTEST_PARALLEL) --exhaustive

check: $(READY)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(MAKE) --no-print-directory check-model

# Exit status 4 is that none could be booted, each with its reason.
kernels: $(READY)
	@$(BIN)/python -m ptelab live $(addprefix --kernel ,5.10 6.1 6.12 7.2) $(addprefix --arch ,amd64 arm64 s390x) || \
		case $$? in 3) echo 'no result of some kernels' ;; 4) ;; *) exit 1 ;; esac

check-model: $(READY)
	@$(foreach a,$(ARCHES),MYPYPATH=$(call model_path,$(a)) $(BIN)/mypy --no-error-summary \
		--config-file tools/mypy-model.ini --cache-dir .mypy_cache/$(a) $(call model_files,$(a)) &&) true
	@MYPYPATH=. $(BIN)/mypy --no-error-summary --config-file tools/mypy-model.ini $(PROGRAMS)

update: $(READY)
	@$(BIN)/python -m pytest $(PYTEST_PARALLEL) --update
	@git --no-pager diff --stat

patches: $(READY)
	@$(BIN)/python tools/refresh_patches.py

docs: $(READY)
	@$(BIN)/python tools/coverage_table.py
	@$(BIN)/python tools/litmus_readme.py

bench: $(READY)
	@$(BIN)/python tools/bench.py
	@$(BIN)/python bench/versus.py --write docs/speed.md
	@$(BIN)/python bench/threads.py

reductions: $(READY)
	@$(BIN)/python bench/reductions.py table --write docs/reductions.md

agree: $(READY)
	@$(BIN)/python bench/agree.py --work build/agree --write docs/agreement.md

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
