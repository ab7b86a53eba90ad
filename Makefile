# What to type. Everything is compiled with --release into a folder outside of the clone, so that RocksDB, which takes
# about 13 minutes on 2 cores, is compiled once and not for each clone and profile.

# An empty environment will do.
HOME ?= $(shell getent passwd "$$(id -u)" | cut -d: -f6)
PATH ?= /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME
export PATH := $(PATH):$(HOME)/.cargo/bin
cache := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/anneal
CARGO_TARGET_DIR ?= $(cache)/target
ANNEAL_TEST_VENV ?= $(cache)/test-venv
export CARGO_TARGET_DIR ANNEAL_TEST_VENV
anneal = $(CARGO_TARGET_DIR)/release/anneal

.PHONY: help build demo test check full bench catalogue fuzz crash interop install clean
.NOTPARALLEL:
.DEFAULT_GOAL := help

help:
	@echo "make demo      build Anneal and run the whole story on real sources, in a state directory of its own"
	@echo "make test      all tests in phases, with what they need from the system installed first"
	@echo "make build     the program alone: $(anneal)"
	@echo "make check     format, lints, the rules of the house: before a commit"
	@echo "make interop   only the tests against tools that are not ours (skopeo, podman, openssl, ...)"
	@echo "make crash     the daemon killed at random moments, 1,000 times under load, in at most an hour"
	@echo "make catalogue every package and image from nothing, twice, held against golden/; every newest release; ten advisories"
	@echo "make bench     measurements;  make fuzz: hostile input;  make full: check, all of test, and crash"
	@echo "make clean     remove what was compiled of ours; RocksDB and other crates stay"
	@echo "NO_INSTALL=1 make demo (or test) lists what is missing and stops. STATE=DIR make demo uses that directory."

# What is missing is installed; with NO_INSTALL=1, or without root, it is listed and make stops here.
install-%:
	@tests/install $*

build: install-build
	@if ls "$(CARGO_TARGET_DIR)"/release/build/librocksdb-sys-*/out/librocksdb.a >/dev/null 2>&1; \
	then echo "Compiling Anneal into $(CARGO_TARGET_DIR)."; \
	else echo "Compiling Anneal into $(CARGO_TARGET_DIR). The first time RocksDB is compiled too: it takes about 13 minutes on 2 cores and says nothing meanwhile."; fi
	@cargo build --release --locked -p anneal

demo: install-demo build
	@state="$${STATE:-$$(mktemp -d /var/tmp/anneal-demo.XXXXXX)}" && \
	echo "The state directory is $$state. It stays, for \`anneal daemon\` and other commands; remove it when you are done." && \
	"$(anneal)" --state "$$state" demo $(ARGS)

test: install-test
	@echo "Running the tests in phases; building comes first."
	@MAKE="$(MAKE)" tests/run-phases

interop: install-test
	@echo "Running the tests against tools that are not ours."
	@MAKE="$(MAKE)" tests/run-phases interop

crash: install-test
	@echo "Killing the daemon at random moments: each time all promises hold, and all that it acknowledged is there."
	@MAKE="$(MAKE)" tests/run-phases crash

catalogue: install-test
	@echo "Building the whole catalogue from nothing, twice, every newest release, and the answers to ten advisories. This takes more than three hours on 2 cores."
	@MAKE="$(MAKE)" tests/run-phases catalogue

check: install-build
	@echo "Format:"
	@cargo fmt --all --check
	@echo "Lints:"
	@cargo clippy --release --locked --workspace --all-targets -- -D warnings
	@echo "The rules of the house:"
	@cargo test --release --locked -p anneal-tests --test house -- --nocapture
	@if command -v cargo-deny >/dev/null; then echo "Licences and sources of crates:"; cargo deny check bans licenses sources; \
	else echo "cargo-deny is not installed: licences and sources of crates were not checked."; fi

full: export ANNEAL_FULL = 1
full: check test crash

bench: install-bench
	@echo "Measuring; close other programs."
	@tests/bench $(ARGS)

# FUZZ_SECONDS=300 make fuzz gives each target five minutes.
fuzz: install-build
	@tests/fuzz/run

clean:
	@echo "Removing what was compiled of ours in $(CARGO_TARGET_DIR)."
	@cargo clean --workspace
