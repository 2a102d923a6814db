# Everything a newcomer needs: `make demo`, `make test`. No account, no server to start, no network beyond pip's index.
PYTHON ?= python3
VENV   ?= .venv
DEMO   ?= demo
PARTS  ?= parts
BIN    := $(VENV)/bin

.PHONY: demo test check bench gpu prove up down clean

demo: $(VENV)/.installed
	$(BIN)/fwd2bot demo $(DEMO)
	$(BIN)/fwd2bot night --config $(DEMO)/fwd2bot.toml
	$(BIN)/fwd2bot report --config $(DEMO)/fwd2bot.toml -o $(DEMO)/report.html

# The environment; made again when what it is made from changes.
$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "installing into $(VENV); the first time takes some minutes (torch alone is 200 MB to 2 GB)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

# Two at once, each file's tests in one process: most of them wait for servers and disks half of the time.
test: $(VENV)/.installed-test check
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Every bench runs, whatever the one before found; those that missed a goal are named at the end.
bench: $(VENV)/.installed-test
	@missed=; for name in listing pass1 first_word memory codecs audit_append audit_verify policy_decide execution commit discovery search readback search_quality night_speed speed; do \
		$(BIN)/python -m tests.bench.$$name || missed="$$missed $$name"; \
	done; test -z "$$missed" || { echo "missed its goal:$$missed"; exit 1; }

# At the size of a real model; asks for a CUDA device (see tests/gpu/README.md).
gpu: $(VENV)/.installed-test
	$(BIN)/python -m tests.gpu
	$(BIN)/python -m tests.gpu.night

# Goes on where it was stopped; the rivals take some hours, of which one call spends four at most.
prove: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m long
	$(BIN)/python -m tests.prove.kills
	$(BIN)/python -m tests.prove.destruction
	$(BIN)/python -m tests.prove.guards
	$(BIN)/python -m tests.prove.orders
	$(BIN)/python -m tests.prove.all_parts
	$(BIN)/python -m tests.prove.endurance
	$(BIN)/python -m tests.prove.hosts || test $$? -eq 2  # 2: needs root and says so
	$(BIN)/python -m tests.prove.fidelity_auroc
	$(BIN)/python -m tests.prove.tiles
	$(BIN)/python -m tests.prove.rivals --minutes 240

# All real parts on this machine, without containers; `make up` again starts what died. `make down CLEAN=1` forgets data.
up: $(VENV)/.installed-test
	$(BIN)/python -m tests.parts up $(PARTS)

down: $(VENV)/.installed-test
	$(BIN)/python -m tests.parts down $(PARTS) $(if $(CLEAN),--clean)

clean:
	rm -rf $(DEMO) prove-work
