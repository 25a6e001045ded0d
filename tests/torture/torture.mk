.PHONY: torture-cloud
MINUTES ?= 10

torture-cloud: venv ## faults and killed processes on the embedded cloud, for MINUTES=10
	@$(PY) -m tests.torture --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))
