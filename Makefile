# CausalMix: `make book` builds the book, `make test` runs the tests. Each target first makes its
# own environment in .venv with pip, when that is missing or out of date.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The first of these that is 3.11 or newer makes the environment; `make PYTHON=... book` overrides.
PYTHON ?= python3.11 python3.12 python3.13 python3

# Numerical libraries would start one thread a core in every worker of the tests.
test: export OMP_NUM_THREADS := 1
test: export MKL_NUM_THREADS := 1
test: export OPENBLAS_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help book book-smoke test lab clean force

help:
	@echo "make book        run the notebooks and build the book: _build/html/index.html"
	@echo "make book-smoke  the same with small parameters: _build/books/smoke/html/index.html"
	@echo "make test        run the tests"
	@echo "make lab         open JupyterLab on the notebooks; ARGS=--no-browser, say, passes options on"
	@echo "make clean       delete everything that was built; the environment .venv stays"
	@echo "make help        print this list"

book: $(STAMP)
	@$(BIN)/causalmix book

book-smoke: $(STAMP)
	@$(BIN)/causalmix book --smoke

# Pytest's own closing line is the last one printed.
test: $(STAMP)
	@$(BIN)/python -m pytest -n 2 --dist loadscope

# Jupyter refuses to start as root unless it is told to.
lab: $(STAMP)
	@$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS) notebooks

clean:
	rm -rf _build .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# The stamp is written last and holds the folder it was made in: after an interrupted
# installation, in a moved clone or with a Python that is gone, the environment is made afresh.
ifneq ($(shell $(BIN)/python -c '' 2>/dev/null && cat $(STAMP) 2>/dev/null),$(CURDIR))
NEW_VENV := yes
$(STAMP): force
endif

$(STAMP): pyproject.toml constraints.txt
	@rm -f $(STAMP)
ifdef NEW_VENV
	@for python in $(PYTHON); do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making the environment $(VENV) with $$($$python --version); the first time this downloads a lot."; \
	    $$python -m venv --clear $(VENV) && exit 0; \
	    echo "Could not make $(VENV): 'python -m venv' failed (on Debian and Ubuntu install python3-venv)." >&2; \
	    exit 1; \
	  fi; \
	done; \
	echo "CausalMix needs Python 3.11 or newer; none of these is: $(PYTHON). Say where one is: make PYTHON=/path/to/python3.11" >&2; \
	exit 1
endif
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@echo '$(CURDIR)' > $(STAMP)
