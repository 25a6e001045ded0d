SEEDS ?= 1000

.PHONY: schedules mutants recovery

schedules: venv ## many simulated schedules under faults (SEEDS=1000, BASE= a first seed)
	nice $(PY) -m faaskeeper_simulator.schedules --seeds $(SEEDS) $(if $(BASE),--base $(BASE))

mutants: venv ## the table of mutants that the simulation's checker catches
	nice $(PY) -m faaskeeper_simulator.mutants

recovery: venv ## how long writes stall after each kind of fault, in virtual time
	nice $(PY) -m faaskeeper_simulator.recovery
