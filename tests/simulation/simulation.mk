SEEDS ?= 1000

.PHONY: torture mutants

torture: venv ## many simulated schedules under faults (SEEDS=1000, BASE= a first seed)
	nice $(PY) -m tests.simulation.torture --seeds $(SEEDS) $(if $(BASE),--base $(BASE))

mutants: venv ## the table of mutants that the simulation's checker catches
	nice $(PY) -m tests.simulation.mutants
