.PHONY: conformance

conformance: venv ## what others wrote to judge a ZooKeeper, all of it (20 min)
	$(PY) -m tests.conformance $(CONFORMANCE)
