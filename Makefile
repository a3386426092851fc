# galen's door for people: every command is one word, and CI runs the same words (.ci/run).
# Meson and Ninja do the building; this file knows only which build folder serves which purpose.
#
#   build        release, the binary is build/galen      build-asan   tests: ASan, UBSan, fault injection, -Werror
#   build-tiny   the same with shrunken constants        build-check  quick unit tests, no sanitizers
#   build-tsan   thread sanitizer                        build-fuzz   libFuzzer targets (clang)

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run build web test check lint format fuzz tsan bench demo scenario install-deps clean

# Settings, on the command line: make run ARGS="--listen 127.0.0.1:9700", make fuzz FUZZ_SECONDS=600, DEPS=no.
ARGS ?=
FUZZ_SECONDS ?= 30
# DEPS=no leaves the system's packages alone.
DEPS ?= yes
# lint looks at the format too once this says yes.
LINT_FORMAT ?= no

# setarch -R: the thread sanitizer of gcc 12 dies of the address randomisation of newer kernels.
# ignore_noninstrumented_modules: it keeps a book of file descriptors, and libuv closes with the bare system call, which
# it does not see. A connection's number would still be that connection in its book when another thread opens, closes or
# dups a file that has got the number since. Locks taken inside libuv still count.
TSAN := TSAN_OPTIONS="halt_on_error=1 second_deadlock_stack=1 ignore_noninstrumented_modules=1" setarch -R
ROOMS_WITH_THREADS := net audit store query watch
# Not the headers: their comments stand in columns, which clang-format 14 cannot keep.
C_SOURCES = $(shell find src tests -name '*.c' -o -name '*.cc')
ASAN := -Dbuildtype=debugoptimized -Dfaults=true -Db_sanitize=address,undefined -Db_lundef=false -Dwerror=true

# $(call deps,build test) installs what these purposes need and lack.
deps = @[ "$(DEPS)" = no ] || tools/install-deps $(1)
# $(call configure,FOLDER,OPTIONS): set a build folder up, again only when the options changed.
configure = @tools/configure $(1) $(2)

help: ## this list
	@echo "galen watches, diagnoses and heals LLM inference services. Start with: make run"
	@echo
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

run: build ## build if needed, start galen on this machine and print the page's address
	@exec build/galen serve $(ARGS)

build: web ## the release binary, build/galen
	$(call configure,build,-Dbuildtype=release -Ddebug=true -Dweb=$(CURDIR)/build/web)
	@ninja -C build galen

# The page, from web/ by npm into build/web. DEPS comes first: on a bare system there is no npm and no compiler yet.
web:
	$(call deps,build)
	@if [ -x tools/web-build ]; then tools/web-build; \
	else mkdir -p build/web; echo "The page is not in this tree; the binary gets a placeholder."; fi

install-deps: ## install the Debian packages for building, testing and the demo
	@tools/install-deps build test demo

check: ## unit tests only, in seconds
	$(call deps,build test)
	$(call configure,build-check,-Dbuildtype=debugoptimized -Dfaults=true)
	@meson test -C build-check --suite unit --print-errorlogs

test: ## everything: sanitizers, corpora, the real binary, one demo round (under 20 minutes)
	$(call deps,build test demo)
	@DEPS=$(DEPS) tests/all.sh

lint: ## how the rooms include each other, words, format
	$(call deps,build test)
	@tools/lint-rooms
	@if [ "$(LINT_FORMAT)" = yes ]; then clang-format --dry-run -Werror $(C_SOURCES); fi

format: ## put the C sources into the house's form
	$(call deps,test)
	@clang-format -i $(C_SOURCES)

fuzz: ## each fuzz target for FUZZ_SECONDS (30) under libFuzzer
	$(call deps,build test)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz.sh

tsan: ## rooms with threads, and a short serve, under the thread sanitizer
	$(call deps,build test)
	$(call configure,build-tsan,-Dbuildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false)
	@ninja -C build-tsan galen
	@$(TSAN) meson test -C build-tsan --print-errorlogs --timeout-multiplier 5 $(ROOMS_WITH_THREADS)
	@$(TSAN) tests/serve_briefly.sh build-tsan/galen

bench: build ## the numbers we promise: idle cost, answers; the store beside Prometheus and VictoriaMetrics (40 minutes)
	$(call deps,bench)
	@bench/run build/galen
	@bench/store/run build/galen $(ARGS)

demo: build ## a real LLM engine is killed, frozen and stalled, and comes back by itself
	$(call deps,demo)
	@demo/demo $(ARGS)

scenario: build ## ten rounds of the demo and a ten-minute soak
	$(call deps,demo)
	@tests/scenario/run.sh $(ARGS)

clean: ## remove every build folder
	rm -rf build build-*
