# make demo       train the default model and audit it, into runs/demo
# make test       the whole test suite
# make check      ruff and mypy
# make notebooks  rebuild the executed notebooks from their scripts
# make clean      remove .venv and caches; runs/ stays
#
# Each makes .venv when it is missing or older than setup.cfg. Another Python: make PYTHON=python3.12 demo

PYTHON ?= python3
BIN := .venv/bin
INSTALL := PYTHON="$(PYTHON)" sh .ci/install
RECIPE := setup.cfg pyproject.toml .ci/install
NOTEBOOKS := $(patsubst notebooks/%.py,%,$(wildcard notebooks/*.py))

.PHONY: demo test check notebooks clean

demo: .venv/.installed
	@echo "interp: training the default model and auditing it, into runs/demo"
	@$(BIN)/interp demo --out runs/demo

test: .venv/.installed-test
	@echo "interp: running the test suite"
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

check: .venv/.installed-dev
	@echo "interp: checking with ruff and mypy"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# Built beside the old one, which is replaced only once every cell has run.
notebooks: $(NOTEBOOKS:%=notebook-%)

$(NOTEBOOKS:%=notebook-%): notebook-%: .venv/.installed-notebooks
	@echo "interp: executing notebooks/$*.py into notebooks/$*.ipynb"
	@$(BIN)/jupytext --quiet --to ipynb --output notebooks/.$*.ipynb notebooks/$*.py
	@$(BIN)/jupyter-execute --inplace notebooks/.$*.ipynb
	@mv notebooks/.$*.ipynb notebooks/$*.ipynb

clean:
	@echo "interp: removing .venv, build files and caches"
	@rm -rf .venv build dist *.egg-info install.log .pytest_cache .mypy_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: $(RECIPE)
	@$(INSTALL) $@

.venv/.installed-%: $(RECIPE)
	@$(INSTALL) $@ $*
