# Thin on purpose: the work is in tools/, and `python3 -m tools VERB` does the same
# where there is no make (Windows: `py -m tools VERB`).
#
#   make book                          the site, in _build/html
#   make test                          everything that must hold
#   make notebooks NOTEBOOKS=book/...  execute and store some notebooks (default: all)
#   make bench BENCH="--only focal"    measure some losses (default: all)
#   make bench BENCH="--only lockstep" time sweeps of trainings
#   make results RESULTS="matrix"      compute some stored studies (default: all)
#   make mutants LOSSES="focal noise"  plant slips in losses or families (default: all)
#   make scale SCALE="--workers 4"     a sweep on a cluster (default: 2 workers)
#   make repository URL=https://...    write the repository's address everywhere

PYTHON ?= $(firstword $(foreach name,python3 python3.11 python3.12 python3.13 \
            python3.14 python,$(shell command -v $(name) 2>/dev/null)))
VERBS := help book serve notebooks test check peers bench results mutants scale lock repository clean

.DEFAULT_GOAL := help
.PHONY: $(VERBS)

mutants: ARGUMENTS = $(LOSSES)
notebooks: ARGUMENTS = $(NOTEBOOKS)
bench: ARGUMENTS = $(BENCH)
results: ARGUMENTS = $(RESULTS)
scale: ARGUMENTS = $(SCALE)
repository: ARGUMENTS = $(URL)

$(VERBS):
	@$(PYTHON) -m tools $@ $(ARGUMENTS)
