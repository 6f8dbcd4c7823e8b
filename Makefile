# Everything that a developer or a CI job types. `make` alone lists it.
PYTHON ?= python3
ADDR ?= 127.0.0.1:5000
DATA ?= .data
WORKERS ?= 2
ARGS ?=
SHARES ?= 2

VENV := .venv
BIN := $(VENV)/bin
TOOLS := .tools/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
UV_VERSION := 0.13.9
UV := .tools/uv/bin/uv
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11

DIRECTORY := slapd=slapd
CLIENTS := docker=docker.io dockerd=docker.io podman=podman buildah=buildah \
	containerd=containerd ctr=containerd skopeo=skopeo
SERVERS := haproxy=haproxy redis-server=redis-server redis-sentinel=redis-sentinel redis-cli=redis-tools
BROWSER := chromium=chromium chromedriver=chromium-driver
LOADERS := nginx=nginx-light wrk=wrk
IMAGE := buildah=buildah skopeo=skopeo umoci=umoci mmdebstrap=mmdebstrap
DRILL := etcd=etcd-server faketime=faketime mkfs.ext4=e2fsprogs docker=docker.io dockerd=docker.io
PROMETHEUS := prometheus=prometheus promtool=prometheus
CHART := $(DRILL) $(PROMETHEUS) $(BROWSER)

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help serve cluster chart image manifests drill test clients scenario storm imports screenshots bench thesis chaos lint mutations conformance tools system lock clean distclean dev

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(VENV)/.runtime ## start the registry (ADDR=host:port, DATA=directory, WORKERS=n, ARGS=…)
	@exec $(BIN)/moorage serve --addr $(ADDR) --data $(DATA) --workers $(WORKERS) $(ARGS)

cluster: dev tools ## start three replicas, HAProxy, MinIO, Redis and Sentinel (Ctrl-C stops them)
	@tools/system-packages $(SERVERS)
	@exec $(BIN)/python -m cluster $(ARGS)

test: dev system tools ## everything that proves the project (ARGS= goes to pytest, SHARES= to as many processes)
	@# Hundreds of registries are started: what Python compiles is kept, whatever the caller wants.
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n $(SHARES) -v -ra --durations=15 $(ARGS)

clients: dev system tools ## a layer of 1 GiB with each client (`make test` has two of them)
	MOORAGE_CLIENTS=1 $(BIN)/pytest -v -ra tests/clients/test_clients.py -k gib $(ARGS)

imports: dev tools ## import 20,000 layers of files and of a bucket, 4,000 of a running registry, killed on the way
	MOORAGE_IMPORT_LAYERS=20000 $(BIN)/pytest -v -s --timeout=3600 tests/imports -k killed $(ARGS)

storm: dev system tools ## ten minutes of pushes and deletions against the collector, on each store
	MOORAGE_STORM_SECONDS=600 $(BIN)/pytest -v -s --timeout=2000 tests/storm $(ARGS)

scenario: dev system tools ## a platform's day on the whole cluster: 50 projects, containerd pulls, a base of 300 MB
	MOORAGE_SCENARIO=50 $(BIN)/pytest -v tests/hopsworks/test_platform_scenario.py $(ARGS)

mutations: dev system tools ## remove each protection of docs/reference/advisories.md and see its tests fail
	$(BIN)/python -m tests.advisories $(ARGS)

screenshots: dev tools ## take the pictures of the console and of the dashboard in docs/how-to
	@tools/system-packages $(BROWSER) $(SERVERS) $(PROMETHEUS)
	$(BIN)/python -m tests.console.screenshots docs/how-to
	MOORAGE_CHART=1 MOORAGE_PICTURES=docs/how-to $(BIN)/pytest -q tests/deploy/test_dashboard.py

chaos: dev system tools ## every fault under load on the whole cluster, some ten minutes (ARGS= goes to pytest)
	MOORAGE_CHAOS=1 $(BIN)/pytest -s tests/chaos $(ARGS)

bench: dev tools ## compare with other registries on this machine
	@tools/system-packages $(LOADERS)
	$(BIN)/python -m benchmarks $(ARGS)

thesis: dev tools ## the thesis's experiment, this registry and Distribution in turns (ARGS="--store s3")
	$(BIN)/python -m benchmarks.thesis --document docs/reference/thesis.md $(ARGS)

conformance: dev tools ## the official suite: every store, 1 and 2 workers, three replicas, both profiles
	@tools/system-packages $(SERVERS)
	$(BIN)/python -m conformance --matrix $(ARGS)

chart: dev tools ## the chart on a real kube-apiserver, against schemas and policies, its alerts by promtool
	@tools/go-tools $(TOOLS) requirements/chart-tools.txt
	@tools/kubernetes/prepare .tools/kubernetes
	@tools/system-packages $(SERVERS) $(CHART)
	MOORAGE_CHART=1 $(BIN)/pytest -v -ra tests/deploy tests/drill $(ARGS)

image: dev ## build the image on a base of Debian packages, push and pull it here, start it
	@tools/system-packages $(IMAGE)
	MOORAGE_IMAGE=1 $(BIN)/pytest -v -ra tests/deploy/test_image.py $(ARGS)

manifests: dev tools ## render the chart's schema and plain manifests anew
	$(BIN)/python -m deploy.k8s.render

drill: dev tools ## the chart's installation loses parts and is changed while clients work, some ten minutes
	@tools/system-packages $(SERVERS) $(DRILL)
	$(BIN)/python -m tests.drill --helm-test --document docs/reference/drill.md $(ARGS)

lint: dev ## style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

tools: ## build the pinned Go programs that tests and benchmarks run, and fetch a script of npm's
	@tools/go-tools $(TOOLS)
	@tools/npm-files .tools/npm

system: ## install the clients and servers that tests run (root on Debian)
	@tools/system-packages $(CLIENTS) $(SERVERS) $(DIRECTORY) $(BROWSER)

lock: ## pin the dependencies in pyproject.toml (ARGS=--upgrade: to the newest allowed)
	@test -x $(UV) || { $(PYTHON) -m venv .tools/uv && .tools/uv/bin/python -m pip install --quiet uv==$(UV_VERSION); }
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], "editables", sep="\n")' \
		| $(COMPILE) $(ARGS) --no-annotate - -o requirements/build.lock
	$(COMPILE) $(ARGS) pyproject.toml --extra tracing -o requirements/runtime.lock
	$(COMPILE) $(ARGS) pyproject.toml --extra tracing --group dev -c requirements/runtime.lock -c requirements/build.lock -o requirements/dev.lock

clean: ## remove caches and reports (not the data, not the environment)
	rm -rf build conformance/results .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -not -path './.venv/*' -not -path './.tools/*' -prune -exec rm -rf {} +

distclean: clean ## also remove the environment and the built tools
	rm -rf $(VENV) .tools

dev: $(VENV)/.dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3 …' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || CI=true tools/system-packages python3-ensurepip=python3-venv
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements/build.lock requirements/runtime.lock pyproject.toml | $(BIN)/python
	@echo 'making the environment in $(VENV) …'
	@$(PIP) --require-hashes -r requirements/build.lock
	@$(PIP) --require-hashes -r requirements/runtime.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.runtime
	@$(PIP) --require-hashes -r requirements/dev.lock
	@touch $@
