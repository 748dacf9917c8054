# Everything a developer runs. Each target sets up what it needs first; a second setup costs nothing.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
# Inside .venv, so that removing .venv also removes the belief that it is there.
STAMP := .venv/.setup.stamp
# The gRPC engine in Rust; built and checked where cargo is there.
FRONT := $(wildcard native/front/*.toml native/front/Cargo.lock native/front/src/*.rs)
CARGO := $(shell command -v cargo)
# More words for the command behind a target: `make test ARGS="-k tensors"`, `make bench ARGS=--help`.
ARGS ?=

.PHONY: help setup servers check format test demo bench faults protos clean distclean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## Install everything from uv.lock into .venv; leaves .venv/bin/penstock

$(STAMP): pyproject.toml uv.lock deploy/setup/bootstrap.sh deploy/setup/front.sh deploy/setup/bytecode.py $(FRONT)
	@deploy/setup/bootstrap.sh
	@touch $@

servers: setup ## Get Kafka, Temporal, Redis and PostgreSQL for `penstock up` and the integration tests
	@PYTHONPATH=$(CURDIR) deploy/setup/servers.sh

check: setup ## Check format, lint, types and protos, and the Rust where cargo is there
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright
	$(BIN)/python protos/lint.py
	$(BIN)/python protos/generate.py --check
	@if command -v cargo-clippy >/dev/null && command -v cargo-fmt >/dev/null && compgen -G '.cache/front/*/*.whl' >/dev/null; then \
	  set -ex; cd native/front; cargo fmt --check; \
	  CARGO_TARGET_DIR=$(CURDIR)/.cache/front-target cargo clippy --quiet --locked --release -- -D warnings; \
	else echo 'check: native/front is not checked: it was not built here, or cargo has no clippy or no fmt'; fi

format: setup ## Format the code and mend what the linter can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
ifneq ($(CARGO),)
	cd native/front && cargo fmt
endif

test: servers ## Run the tests
	$(BIN)/pytest $(ARGS)

demo: setup ## Build real models, serve them, ask them in every way; then run a whole mesh and change it under load
	$(BIN)/python -m examples.demo $(ARGS)
	$(BIN)/python -m examples.mesh

bench: setup ## Race against the peers and the limits on one core, write bench/results (about 20 minutes)
	$(BIN)/python deploy/setup/bytecode.py
	$(BIN)/python -m bench $(ARGS)

faults: setup ## Break things under load at random, check every answer, write RELIABILITY.md (about 40 minutes, resumable)
	$(BIN)/python -m tests.faults $(ARGS)

protos: setup ## Regenerate the code in penstock/v1 and penstock/oip
	$(BIN)/python protos/generate.py

clean: ## Remove caches and what builds left behind; .venv stays
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis examples/models
	find . \( -name .venv -o -name .git \) -prune -o -type d -name __pycache__ -print0 | xargs -0 rm -rf

distclean: clean ## Remove .venv and the tools as well
	rm -rf .venv .cache
