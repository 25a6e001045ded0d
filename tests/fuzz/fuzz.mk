.PHONY: fuzz
SECONDS ?= 60
FUZZ := .faaskeeper/fuzz

fuzz: venv $(FUZZ)/.made ## coverage-guided fuzzing of the decoders and rules, SECONDS=60 each
	@for target in jute messages rules; do \
		PYTHONPATH=$(FUZZ)/packages:lambda_src:client:simulator:. $(PY) -m tests.fuzz.fuzz $$target $(FUZZ)/corpus/$$target \
			-max_total_time=$(SECONDS) -timeout=10 -max_len=4096 -print_final_stats=1 || exit 1; \
	done

$(FUZZ)/.made: tests/fuzz/fuzz.mk
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(FUZZ)/packages 'atheris>=3,<4'
	@touch $@
