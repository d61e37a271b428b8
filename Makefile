# Everything is installed into .venv: the core for the demonstration, [dev] on top for the rest.
PYTHON ?= python3
BIN    := .venv/bin
comma  := ,
.DEFAULT_GOAL := help
.PHONY: help demo test prepare lab site site-check site-serve

# Notebook tests run in the notebook's own folder, so the folder of real files has to be absolute.
ifdef PHYSLEARN_DATA
DATA := $(shell cd "$(PHYSLEARN_DATA)" 2>/dev/null && pwd)
ifeq ($(DATA),)
$(error PHYSLEARN_DATA=$(PHYSLEARN_DATA) is not a folder)
endif
override PHYSLEARN_DATA := $(DATA)
export PHYSLEARN_DATA
endif

# notebooks and files of tests in one pool of two processes, the longest first (conftest.py), each on one core: more threads
# than cores would only get into each other's way
FLAGS :=
POOL  := OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations 15 --flags '$(if $(PHYSLEARN_DATA),data )$(FLAGS)'
test prepare site: export MPLBACKEND = agg
# what tests read of a process must be there where this is not set, as it is not for most users
unexport PYTHONUNBUFFERED

help: ## print this list
	@echo "make TARGET [PYTHON=python3.12] [PHYSLEARN_DATA=folder of real files] [FLAGS='slow cuda']"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s%s\n", $$1, $$2}' Makefile

demo: .venv/.ready ## from line list to concentration with an error bar; the report is written to demo/
	@echo "== demonstration: physlearn demo spectra --out demo"
	$(BIN)/physlearn demo spectra --out demo

test: .venv/.site ## all tests: modules in step, notebooks, tests/, the site built and opened in a browser
	@echo "== 1/2 are modules, README and notebooks in step, without errors or unused names?"
	$(BIN)/python tools/check.py
	$(BIN)/ruff check --ignore E501,E702,E703
	@echo "== 2/2 notebooks, site and tests$(if $(PHYSLEARN_DATA),, (PHYSLEARN_DATA is unset: cells marked data are skipped))"
	$(POOL) nbs tests
	@echo "== all passed"

prepare: .venv/.dev ## before a commit: export, lint, test, clean, renew README.md
	$(BIN)/nbdev_export
	-$(BIN)/ruff check
	$(POOL) nbs
	$(BIN)/nbdev_clean
	$(BIN)/python tools/readme.py --write

site: .venv/.site ## build the documentation into _site/, without Quarto; warnings are errors
	$(BIN)/python tools/make_site.py

site-check: .venv/.site ## open every page of _site/ in headless Chromium, wide and narrow
	$(BIN)/python tools/open_site.py

site-serve: .venv/.site ## show _site/ at http://127.0.0.1:8000
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory _site 8000

lab: .venv/.dev ## JupyterLab, opened at the tutorials
	$(BIN)/jupyter lab --notebook-dir=nbs --LabApp.default_url=/lab/tree/tutorials

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "physlearn needs Python 3.11 or newer, and '$(PYTHON)' is not: name one with PYTHON=python3.12"; exit 1; }
	@echo "== creating .venv with $$($(PYTHON) --version)"
	$(PYTHON) -m venv .venv

# fastai asks for torchvision, whose usual wheel does not load beside a CPU torch. Nothing here needs it,
# and torchmetrics, peft and transformers fail while a broken one is there.
# pip would compile on one core, the tests of all packages too; it is done here because where PYTHONDONTWRITEBYTECODE is set
# every process would compile anew what it imports.
define install
	@echo "== installing $(1) into .venv (the first time: minutes, up to several GB)"
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile -c constraints.txt -e '$(1)'
	@$(BIN)/python -m compileall -qq -j 0 -x '[/\\]tests?[/\\]' $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') || true
	@$(BIN)/python -c 'import torchvision' 2>/dev/null || { \
	  echo "== removing torchvision, which does not load here"; $(BIN)/python -m pip uninstall -qy torchvision; }
endef

.venv/.ready: setup.py settings.ini constraints.txt | $(BIN)/pip
	$(call install,.)
	@touch $@

.venv/.dev: setup.py settings.ini constraints.txt | $(BIN)/pip
	$(call install,.[dev])
	@touch .venv/.ready $@

.venv/.site: .venv/.dev
	$(call install,.[dev$(comma)site])
	@touch $@
