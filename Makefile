# transformer: Transformer models in the database
#
# A PGXS extension: `make`, `make install`, `make installcheck` as with any
# other, also with PG_CONFIG=..., DESTDIR=... and outside the source tree
# (make -f /path/to/transformer/Makefile).
#
# The other targets need no installed server of their own making: they run
# test/run.sh or test/demo/demo.sh, which install missing packages, build under
# build/, use a private copy of PostgreSQL's program files and a throw-away
# cluster, and leave nothing running.
#
# Regression tests.  Inputs are sql/regress/*.sql, outputs expected/*.out.
# pg_regress wants both under one folder: build/regress holds links to them
# and to models/, and is the --inputdir.  A test therefore finds the
# fixtures by
#	\getenv srcdir PG_ABS_SRCDIR
#	\set bert :srcdir '/models/fixtures/bert'
# A new test is a new pair of files, nothing else; `setup` runs first.

here := $(patsubst %/,%,$(dir $(firstword $(MAKEFILE_LIST))))
PG_CONFIG ?= pg_config

# Targets that are not PGXS's.  Where no others are asked for, PGXS is not
# needed (on a fresh machine it is not there yet).
OWN_TARGETS = help test demo check unit isolation tap asan valgrind neon fuzz fuzz-replay bench lint format setup models

ifneq (,$(filter-out $(OWN_TARGETS),$(or $(MAKECMDGOALS),all)))

# ---- the extension ----

EXTENSION = transformer
MODULE_big = transformer
DATA = $(patsubst $(here)/%,%,$(sort $(wildcard $(here)/sql/transformer--*.sql)))

ENGINE_OBJS := $(patsubst $(here)/%.c,%.o,$(sort $(wildcard $(here)/src/engine/*/*.c)))
HOST_OBJS := $(patsubst $(here)/%.c,%.o,$(sort $(wildcard $(here)/src/pg/*.c $(here)/src/port/*.c)))
OBJS = $(HOST_OBJS) $(ENGINE_OBJS)

# Models that come with the extension: src/pg/shipped.c.
SHIPPED := $(sort $(wildcard $(here)/models/*.gguf))

REGRESS_INPUT = build/regress
regress_names := $(notdir $(basename $(sort $(wildcard $(here)/sql/regress/*.sql))))
REGRESS = $(filter setup,$(regress_names)) $(filter-out setup,$(regress_names))
REGRESS_OPTS = --inputdir=$(REGRESS_INPUT) --load-extension=transformer
REGRESS_PREP = regress-input

EXTRA_CLEAN = $(OBJS:.o=.d) build

# OpenBLAS is looked for at run time and never linked.
SHLIB_LINK = -lpcre2-8 -lm -ldl -lpthread
exports_linux = -Wl,--version-script=$(here)/src/pg/exports.map
SHLIB_LINK += $(exports_$(PORTNAME))

PG_CPPFLAGS = -I$(here)/src -I$(here)/src/engine -MMD -MP
PG_CFLAGS = -std=gnu11 -Wextra -Wno-unused-parameter -Wno-missing-field-initializers

# No bitcode: the files that hold one instruction set each cannot be compiled
# for the server's just-in-time compiler, which would never inline them anyhow.
override with_llvm = no

PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq (,$(PGXS))
$(error $(PG_CONFIG) was not found: run `make setup`, or set PG_CONFIG)
endif
include $(PGXS)

# Only sources are looked for in the source tree.  PGXS would find what was
# built there, too, and then link objects that are not where it names them.
VPATH =
vpath %.c $(here)
vpath %.control $(here)

# The engine exports nothing; numbers are IEEE's (no -ffast-math, nothing
# contracted) and the instruction set is chosen at run time (no -march).
$(ENGINE_OBJS): override CFLAGS += -fvisibility=hidden -O3 -ffp-contract=off -fno-math-errno -Wno-declaration-after-statement

# PostgreSQL's own macros compare signed with unsigned.
$(HOST_OBJS): override CFLAGS += -Wno-sign-compare

# Outside the source tree the folders of the objects are not there yet.
$(shell mkdir -p $(sort $(dir $(OBJS))))

-include $(OBJS:.o=.d)

.PHONY: install-models uninstall-models regress-input
install: install-models
install-models:
ifneq (,$(SHIPPED))
	$(MKDIR_P) '$(DESTDIR)$(datadir)/transformer'
	$(INSTALL_DATA) $(SHIPPED) '$(DESTDIR)$(datadir)/transformer/'
endif

uninstall: uninstall-models
uninstall-models:
ifneq (,$(SHIPPED))
	rm -f $(addprefix '$(DESTDIR)$(datadir)/transformer'/, $(notdir $(SHIPPED)))
	rmdir '$(DESTDIR)$(datadir)/transformer' 2>/dev/null || true
endif

regress-input:
	@rm -rf $(REGRESS_INPUT) && mkdir -p $(REGRESS_INPUT)
	@ln -s $(abspath $(here))/sql/regress $(REGRESS_INPUT)/sql
	@ln -s $(abspath $(here))/expected $(REGRESS_INPUT)/expected
	@ln -s $(abspath $(here))/models $(REGRESS_INPUT)/models

else

check:          ## units and lint: no server, under a minute
	@$(here)/test/run.sh lint unit

endif

# ---- everything else ----

# all:          ## build transformer.so (PGXS)
# install:      ## install into the server that PG_CONFIG names (PGXS)
# installcheck: ## pg_regress against a running server that has it installed (PGXS)
# clean:        ## remove what was built (PGXS)

.PHONY: $(OWN_TARGETS)

help:           ## say what there is to make
	@sed -n 's/^#* *\([a-z-]*\): *## \(.*\)/  make \1\t\2/p' $(here)/Makefile | expand -t 22

test:           ## everything, from nothing: packages, build, units, pg_regress, isolation, TAP
	@$(here)/test/run.sh all

demo:           ## search, labels and a training on 200 texts in a throw-away cluster (KEEP=1 leaves it running)
	@$(here)/test/demo/demo.sh

setup:          ## install the packages that building and testing need (says which first)
	@$(here)/test/setup.sh test

unit:           ## unit tests of the engine, without PostgreSQL
	@$(here)/test/run.sh unit

isolation:      ## isolation tests in a throw-away cluster
	@$(here)/test/run.sh isolation

tap:            ## TAP tests: crash, standby, backup, dump, limits (TESTS=test/t/001*.pl for some)
	@$(here)/test/run.sh tap

asan:           ## unit tests under the address and undefined-behaviour sanitizers
	@$(MAKE) --no-print-directory -C $(here)/test unit SAN=address,undefined

valgrind:       ## unit tests under valgrind
	@$(MAKE) --no-print-directory -C $(here)/test unit-build BUILD=../build/valgrind
	@cd $(here)/test && for program in ../build/valgrind/*/unit/test_*; do \
		case $$program in *.d | *.o) continue;; esac; \
		echo "$${program##*/}" && valgrind -q --error-exitcode=9 "$$program" || exit 1; done

FUZZ ?= $(patsubst $(here)/test/fuzz/fuzz_%.c,%,$(sort $(wildcard $(here)/test/fuzz/fuzz_*.c)))
SECS ?= 60

neon:           ## unit tests with the kernels of aarch64, cross-built and emulated (says which packages it wants; NAME=kernels for some)
	@$(MAKE) --no-print-directory -C $(here)/test neon

fuzz:           ## run fuzz targets: FUZZ=gguf SECS=600; without FUZZ all of them, one after the other
	@for target in $(FUZZ); do $(MAKE) --no-print-directory -C $(here)/test fuzz FUZZ=$$target SECS=$(SECS) || exit 1; done

fuzz-replay:    ## run the fuzz targets over their committed corpus
	@$(MAKE) --no-print-directory -C $(here)/test fuzz-replay

bench:          ## kernels, engine, SQL and peers in turns, and the bars (PYTHON=... with onnxruntime, llama-cpp-python, ...; PARTS=...)
	@$(here)/test/bench/run.sh $(PARTS)

models:         ## make the models that come with the extension: TEXTS=folder of the data sets, NAMES="encoder sentiment intent"
	@sh $(here)/models/make.sh $(TEXTS) $(NAMES)

lint:           ## layering, documentation of every function and setting, lengths, banned calls, symbols
	@$(here)/test/run.sh lint

format:         ## show what clang-format would change: for information, pgindent is the authority
	@cd $(here) && find src test -name '*.[ch]' ! -name '*table*' | while read -r file; do \
		clang-format "$$file" | diff -u "$$file" - ; done; true
