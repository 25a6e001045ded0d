SEEDS ?= 1000

.PHONY: torture mutants recovery

torture: venv ## many simulated schedules under faults (SEEDS=1000, BASE= a first seed)
	nice $(PY) -m tests.simulation.torture --seeds $(SEEDS) $(if $(BASE),--base $(BASE))

mutants: venv ## the table of mutants that the simulation's checker catches
	nice $(PY) -m tests.simulation.mutants

recovery: venv ## how long writes stall after each kind of fault, in virtual time
	nice $(PY) -m tests.simulation.recovery
