.PHONY: soak
MINUTES ?= 10

soak: venv ## faults and killed processes on the embedded cloud, for MINUTES=10
	@$(PY) -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))
