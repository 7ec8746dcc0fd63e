# The closed loop as files. Each target is the sidecar (X.meta.json) that the tool writes last; the data hangs on it.
#
#   make loop     two reweighted rounds on embedded defaults: generate, verify, validate, train, evaluate, ingest,
#                 reweight, ...; then deploy the best checkpoint and ask it one question
#   make test     the tests        make check   lint, types, layers, tests
#   make setup    the environment  make docs    help texts and docs/commands.md
#
# SEED=1 OUT=out1 make loop   another seed beside the first        METHOD=uniform OUT=out2 make loop   another policy

PYTHON  ?= python3
VENV    ?= .venv
OUT     ?= out
SEED    ?= 0
DOMAINS ?= config/loop-domains.yaml
CONFIG  ?= config/train.json
NUM     ?= 2200
EVAL    ?= 12
SANDBOX ?= auto
METHOD  ?= frontier
EXTRAS  ?= all,dev
ASK     ?= Delete every .tmp file anywhere under docs; leave folders alone.

READY    := $(VENV)/.ready
FRONTIER := $(VENV)/bin/frontier
ROUNDS   := 0 1 2

.DELETE_ON_ERROR:
.PHONY: loop setup test check lint types layers docs bench clean

loop: $(OUT)/report.html $(OUT)/answer.txt

# ---- the environment -------------------------------------------------------------------------------------------------
setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11" >&2; exit 3; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "error: $(PYTHON) has no venv; hint: apt-get install python3-venv" >&2; exit 3; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	env -u PYTHONDONTWRITEBYTECODE $(VENV)/bin/python -m compileall -q frontier_core validators generators trainer curriculum frontier_ops frontier_cli
	@touch $@

# ---- round 0: the uniform mix of the domains file ----------------------------------------------------------------------
$(OUT)/model.meta.json: $(DOMAINS) | $(READY)
	@mkdir -p $(@D)
	$(FRONTIER) model init --preset tiny --domains $(DOMAINS) --seed $(SEED) -o $(OUT)/model

$(OUT)/round0/candidates.jsonl.meta.json: $(DOMAINS) | $(READY)
	@mkdir -p $(@D)
	$(FRONTIER) synth gen --domains $(DOMAINS) -n $(NUM) --seed $(SEED)0 -o $(@:.meta.json=)

$(OUT)/round0/run.meta.json: $(OUT)/round0/train.jsonl $(OUT)/model.meta.json $(CONFIG)
	$(FRONTIER) train $< --model $(OUT)/model --config $(CONFIG) --set on_change=restart \
	    --run-id seed$(SEED)-round0 --round 0 --seed $(SEED) -o $(@:.meta.json=)

# ---- round R: what round R-1 taught ------------------------------------------------------------------------------------
define ROUND
$(OUT)/round$(1)/telemetry.jsonl.meta.json: $(OUT)/round$(2)/run.meta.json $(OUT)/round$(2)/eval.jsonl
	@mkdir -p $$(@D)
	$$(FRONTIER) telemetry ingest $(foreach r,$(3),$(OUT)/round$(r)/run $(OUT)/round$(r)/eval.jsonl) -o $$(@:.meta.json=)

$(OUT)/round$(1)/policy.jsonl.meta.json: $(OUT)/round$(1)/telemetry.jsonl $(4)
	$$(FRONTIER) reweight $$< --method $$(METHOD) --domains $$(DOMAINS) $(if $(4),--prev $(4)) --explain -o $$(@:.meta.json=)

$(OUT)/round$(1)/candidates.jsonl.meta.json: $(OUT)/round$(1)/policy.jsonl
	$$(FRONTIER) synth gen --domains $$(DOMAINS) --policy $$< -n $$(NUM) --seed $$(SEED)$(1) -o $$(@:.meta.json=)

$(OUT)/round$(1)/run.meta.json: $(OUT)/round$(1)/train.jsonl $(OUT)/round$(2)/run.meta.json $(CONFIG)
	$$(FRONTIER) train $$< --model $(OUT)/round$(2)/run --config $$(CONFIG) --set on_change=restart \
	    --run-id seed$$(SEED)-round$(1) --round $(1) --seed $$(SEED) -o $$(@:.meta.json=)
endef
$(eval $(call ROUND,1,0,0,))
$(eval $(call ROUND,2,1,0 1,$(OUT)/round1/policy.jsonl))

# ---- every round -------------------------------------------------------------------------------------------------------
define STAGES
$(OUT)/round$(1)/verified.jsonl.meta.json: $(OUT)/round$(1)/candidates.jsonl
	$$(FRONTIER) synth verify $$< --sandbox $$(SANDBOX) --allow-unverified -o $$(@:.meta.json=)

$(OUT)/round$(1)/valid.jsonl.meta.json: $(OUT)/round$(1)/verified.jsonl
	$$(FRONTIER) validate $$< --level standard -o $$(@:.meta.json=)

$(OUT)/round$(1)/train.jsonl.meta.json: $(OUT)/round$(1)/valid.jsonl
	$$(FRONTIER) synth format $$< --to chat -o $$(@:.meta.json=)

$(OUT)/round$(1)/eval.jsonl.meta.json: $(OUT)/round$(1)/run.meta.json
	$$(FRONTIER) eval $$(<:.meta.json=) --domains $$(DOMAINS) -n $$(EVAL) --seed $$(SEED) --sandbox $$(SANDBOX) -o $$(@:.meta.json=)

$(foreach name,candidates verified valid train eval telemetry policy,$(OUT)/round$(1)/$(name).jsonl: $(OUT)/round$(1)/$(name).jsonl.meta.json ;
)
endef
$(foreach round,$(ROUNDS),$(eval $(call STAGES,$(round))))

# ---- into service ------------------------------------------------------------------------------------------------------
EVALS := $(ROUNDS:%=$(OUT)/round%/eval.jsonl)

$(OUT)/release/current: $(EVALS)
	$(FRONTIER) deploy "$$($(FRONTIER) compare $(EVALS) --best)" --to $(OUT)/release
	@touch -h $@

$(OUT)/answer.txt: $(OUT)/release/current
	@rm -f $(OUT)/serve.url
	@$(FRONTIER) serve $(OUT)/release --port 0 --ready-file $(OUT)/serve.url & server=$$!; trap 'kill $$server; wait $$server' EXIT; \
	while [ ! -s $(OUT)/serve.url ]; do kill -0 $$server || exit 5; sleep 0.2; done; \
	echo "asked over HTTP: $(ASK)"; $(FRONTIER) ask "$(ASK)" --url "$$(cat $(OUT)/serve.url)" > $@ && cat $@

$(OUT)/report.html: $(EVALS) $(OUT)/round2/policy.jsonl $(OUT)/answer.txt
	$(FRONTIER) report $(OUT) -o $@

# A sidecar vouches for its data; one whose data is gone vouches for nothing, so it is made again, with its data.
ORPHANS := $(foreach meta,$(wildcard $(OUT)/*.meta.json $(OUT)/*/*.meta.json),$(if $(wildcard $(meta:.meta.json=)),,$(meta)))
$(ORPHANS): FORCE
FORCE:

# ---- the house ---------------------------------------------------------------------------------------------------------
# A file's tests stay in one process: they share models, sandboxes and servers.
test: $(READY)
	$(VENV)/bin/python -m pytest --numprocesses auto --dist loadfile

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(READY)
	$(VENV)/bin/mypy

layers: $(READY)
	$(VENV)/bin/lint-imports

check: lint types layers test

docs: $(READY)
	$(VENV)/bin/python -m frontier_cli.helptext

bench: $(READY)
	$(VENV)/bin/python benchmarks/startup.py
	$(VENV)/bin/python benchmarks/skills.py --quick
	$(VENV)/bin/python benchmarks/teacher.py --quick
	$(VENV)/bin/python benchmarks/sandbox.py --quick
	$(VENV)/bin/python benchmarks/deep.py --quick
	$(VENV)/bin/python benchmarks/mixing --quick
	$(VENV)/bin/python benchmarks/telemetry.py --quick
	$(VENV)/bin/python benchmarks/stream.py --quick
	$(VENV)/bin/python benchmarks/lake.py --quick
	$(VENV)/bin/python benchmarks/validate.py --quick
	$(VENV)/bin/python benchmarks/train.py --quick
	$(VENV)/bin/python benchmarks/checkpoints.py --quick
	$(VENV)/bin/python benchmarks/jobs.py --quick
	$(VENV)/bin/python benchmarks/job_kills.py --quick

clean:
	rm -rf $(OUT)
