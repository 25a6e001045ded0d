.PHONY: conformance

conformance: venv ## every judge of a ZooKeeper, those of others too (25 min)
	$(PY) -m tests.conformance $(CONFORMANCE)
