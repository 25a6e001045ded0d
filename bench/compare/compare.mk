.PHONY: compare

compare: venv ## beside a real ZooKeeper and published figures, with charts in docs/plots (COMPARE=virtual)
	@$(PY) -m bench.compare $(COMPARE)
