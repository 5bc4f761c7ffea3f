# Needs Python 3.11 or 3.12 and make; everything else is installed into .venv from requirements.lock.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test lint bench clean faults secrets

demo: $(READY)  ## Replay two weeks with an incident, judge them, show the page at http://127.0.0.1:8080
	$(BIN)/driftline --home .driftline/demo demo $(ARGS)

test: $(READY)  ## Run every test; those that lack Java, Chromium, Docker or the real data skip and say so
	$(BIN)/pytest -n 2 --dist loadgroup $(ARGS)

lint: $(READY)  ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

faults: $(READY)  ## The fault tests at full size, and the table of what they found
	DRIFTLINE_FULL_FAULTS=1 $(BIN)/pytest tests/faults tests/driftline/transport/test_kafka_delivery.py $(ARGS)
	$(BIN)/python -m tests.faults.table

bench: $(READY)  ## Compare with peers in one run; writes benchmarks/results/*.json
	$(BIN)/python -m benchmarks $(ARGS)

secrets:  ## Passwords for docker-compose.yml, made once; ARGS=--tls also certificates
	$(PYTHON) deploy/make_secrets.py $(ARGS)

clean:  ## Remove everything that make and driftline made here
	rm -rf .venv .driftline .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 13) else f"driftline needs Python 3.11 or 3.12, this is {sys.version.split()[0]}: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(READY)
