# Needs Debian, python3 (3.11 or later) with venv, and make. uv is used when it is there.
VENV := .venv
BIN := $(VENV)/bin
PY := python3
export HAT_ETL_TENANTS ?= $(CURDIR)/.sandbox/tenants
export HAT_ETL_SANDBOX ?= $(CURDIR)/.sandbox
BENEFICIARIES ?= 20000
ERP ?= postgresql

.PHONY: install demo test lint format docs pictures bench bench-sync bench-oracle bench-billing bench-ui bench-peers ui lock clean

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --seed --python $(PY) $(VENV) && \
		uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock && \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
	else \
		$(PY) -m venv $(VENV) && \
		$(BIN)/pip install --quiet --require-hashes -r requirements.lock && \
		$(BIN)/pip install --quiet --no-deps --no-build-isolation -e . ; \
	fi
	@touch $@

demo: install
	$(BIN)/hat-etl demo --beneficiaries $(BENEFICIARIES) --erp $(ERP)

test: install
	$(BIN)/pytest -q -n auto --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install
	$(BIN)/python -m hat_etl.reports.dictionary docs/dictionary.md

pictures: install
	$(BIN)/python -m hat_etl_tests.orchestration.story docs/pictures

bench: install
	$(BIN)/python -m benchmarks

bench-sync: install
	$(BIN)/python -m benchmarks.sync

bench-oracle: install
	$(BIN)/python -m benchmarks.oracle

bench-ui: install
	$(BIN)/python -m benchmarks.control_room

bench-billing: install
	$(BIN)/python -m benchmarks.billing

bench-peers:
	$(PY) -m venv .bench/peers
	.bench/peers/bin/pip install --quiet "dlt[parquet,postgres,sql_database]==1.31.0" pandas "psycopg2-binary" "sqlalchemy<2.1" "sling==1.4.11" "sling-linux-amd64==1.4.11"

ui: install
	$(BIN)/hat-etl sandbox up --dirt --billing --beneficiaries $(BENEFICIARIES)
	$(BIN)/hat-etl views install demo
	DAGSTER_HOME=$${DAGSTER_HOME:-$(CURDIR)} $(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-strip-extras

lock:
	$(LOCK) --extra dev --extra workers pyproject.toml -o requirements.lock
	$(LOCK) --extra image --extra workers pyproject.toml --constraint requirements.lock -o deploy/requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
