# `make run` and `make test` each make .venv, install, fetch what they need, and do the job.
# A second call reuses what is there. Variables: PYTHON (which Python makes .venv), OUT (run folder),
# JOBS (test processes; by memory 2 or 3), LATEST=1 (the newest packages, not those of constraints.txt).

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
OUT    ?= runs/sample
# Tests also wait: for processes, a browser, the disk. A third one fills that time where 3 GB each are there.
JOBS   ?= $(shell awk '/^MemTotal/ {n = $$2 > 12000000 ? 3 : 2} END {print n ? n : 2}' /proc/meminfo 2>/dev/null || echo 2)
PIP    := $(BIN)/python -m pip install --disable-pip-version-check -q $(if $(LATEST),,-c constraints.txt)

.PHONY: run test demo lint bench clean
.DEFAULT_GOAL := run

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# One stamp per extra: touched only after a whole installation, so an interrupted one starts over.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	touch $@

# Extras are asked for by the installed package's name: building it a second time takes longer than some of them.
$(VENV)/.installed-demo: $(VENV)/.installed
	$(PIP) 'vis-tubes[demo]'
	touch $@

# Of the modules that come with the tests' packages most are never imported: the others are compiled when they are.
# The two references need nothing that is not there, but ask for a second OpenCV and for plots. Beside pip, on another
# core, the evaluator's kernels are compiled, which tests would wait for.
$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -c 'from vis.evaluation import intervals, kernel_cache; kernel_cache.compile_all()' & \
	$(PIP) --no-compile 'vis-tubes[test]' && \
	$(PIP) --no-compile --no-deps segment-anything-hq==0.3 trackeval==1.3.0 && wait
	touch $@

$(VENV)/.installed-lint: $(VENV)/.installed-test
	$(PIP) 'vis-tubes[lint]'
	touch $@

run: $(VENV)/.installed
	$(BIN)/vistubes run sample --preset quick --out $(OUT) --overwrite

# The tests start hundreds of processes: where Python is told not to keep compiled modules, each compiles them anew.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/.installed-test
	$(BIN)/vistubes models fetch mobile-sam u2netp
	-$(BIN)/vistubes models fetch ssd-openimages
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

demo: $(VENV)/.installed-demo
	$(BIN)/vistubes demo

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) runs
