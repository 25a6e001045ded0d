.PHONY: systems

systems: venv ## what others run on ZooKeeper: Patroni and more, as far as installed (SYSTEMS=patroni)
	@$(PY) -m tests.systems $(SYSTEMS)
