# Everything a developer, a packager or CI calls; `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VERSION ?= 0.1.0-dev
# Part of --version. The same COMMIT gives the same bytes, with git or without.
COMMIT  ?= $(shell hack/commit)
PREFIX  ?= /usr/local
DESTDIR ?=

# The go that hack/deps found or installed, otherwise the one in PATH.
GO      = $(or $(wildcard build/go),go)
# urfave_cli_no_docs: no Markdown parser, which would initialize at each start, and enlarge
# a program that every rootless launch copies.
TAGS    = netgo osusergo seccomp urfave_cli_no_docs
LDFLAGS = -s -w -buildid= -X main.version=$(VERSION) -X main.commit=$(COMMIT) -extldflags=-static
# No inlining outside Go's own library: the program is a sixteenth smaller, and uses a sixth
# less memory until the application runs.
GOFLAGS_BUILD = -trimpath -buildvcs=false -tags '$(TAGS)' -gcflags='github.com/...=-l'
SOURCES = $(shell find bundle cmd gpu internal runtime \( -name '*.go' -o -name '*.[ch]' \) -not -name '*_test.go') go.mod go.sum
TESTED  = ./bundle/... ./cmd/... ./gpu/... ./internal/... ./runtime/... ./test/bench ./test/images/costs ./test/spank ./test/tally
# Packages whose tests start thousands of processes, compilers among them: one at a time.
HEAVY   = ./cmd/ocishim ./gpu ./internal/house ./internal/image/serve ./internal/image/storage ./internal/mpi ./internal/plan
# Tests have their own time limits, scaled to the machine (internal/pace): go's is for those
# without one. build/durations records how long each took.
GOTEST  = set -o pipefail; CGO_ENABLED=1 $(GO) test -json -timeout 75m
TALLY   = build/bin/tally -file build/durations

# The tools that lint uses, pinned.
GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

##@ For users

.PHONY: demo
demo: deps-for-demo build/bin/ocishim build/bin/ocishim-image ## show ocishim at work: as root on real Slurm, otherwise with the calls of slurmstepd
	hack/demo

.PHONY: test
test: ## each scenario once, as CI does; as root on Debian it installs missing packages
	hack/deps test
	@rm -f build/durations
	@began=$$SECONDS; $(MAKE) roots build unit integration conformance-check && \
		echo "it took $$(((SECONDS - began) / 60)) min $$(((SECONDS - began) % 60)) s; make durations shows of what"

.PHONY: test-all
test-all: ## the same with all repeats, users, old kernels and ways of calling; over half an hour
	@echo 'make test-all: this takes half an hour and more on a quick machine'
	$(MAKE) test OCISHIM_TEST_ALL=1

# Options for tests; empty for the defaults.
export OCISHIM_TEST_ALL

# The roots that tests of GPUs use as images, and Slurm runs in: build/bookworm, build/trixie
# and build/forky, and the same with MPI; forky with MPI only for `make test-all`.
.PHONY: roots
roots:
	@if [ "$$(id -u)" = 0 ]; then hack/cluster root --slurm 22.05 --mpi && hack/cluster root --slurm 24.11 --mpi && \
		hack/cluster root --slurm 26.05 $${OCISHIM_TEST_ALL:+--mpi}; fi

.PHONY: build
build: build/bin/ocishim build/bin/ocishim-image ## the static binaries, build/bin/ocishim and build/bin/ocishim-image

# Both programs in the directory PROGRAMS, for another architecture if GOARCH, CC and PKG_CONFIG_LIBDIR say so.
.PHONY: programs
programs: build/commit
	CGO_ENABLED=1 $(GO) build $(GOFLAGS_BUILD) -ldflags '$(LDFLAGS)' -o $(PROGRAMS)/ocishim ./cmd/ocishim
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o $(PROGRAMS)/ocishim-image ./cmd/ocishim-image

.PHONY: packages
packages: build/bin/ocishim ## .deb, .rpm and .tar.gz for amd64 and arm64, with checksums and SPDX, in build/packages: VERSION=N
	hack/packages $(VERSION)

.PHONY: install
install: build/bin/ocishim build/bin/ocishim-image ## install under $(DESTDIR)$(PREFIX)
	install -D -m 755 build/bin/ocishim $(DESTDIR)$(PREFIX)/bin/ocishim
	install -D -m 755 build/bin/ocishim-image $(DESTDIR)$(PREFIX)/bin/ocishim-image
	install -D -m 644 docs/ocishim.8 $(DESTDIR)$(PREFIX)/share/man/man8/ocishim.8
	install -D -m 644 docs/ocishim-image.8 $(DESTDIR)$(PREFIX)/share/man/man8/ocishim-image.8
	install -D -m 644 hack/completions/ocishim.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/ocishim
	install -D -m 644 hack/completions/_ocishim $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_ocishim
	install -D -m 644 hack/completions/ocishim.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/ocishim.fish
	install -d $(DESTDIR)$(PREFIX)/share/ocishim/oci.conf.d
	cp -R oci.conf.d/. $(DESTDIR)$(PREFIX)/share/ocishim/oci.conf.d/
	install -d $(DESTDIR)$(PREFIX)/share/ocishim/mpi.d
	cp -R mpi.d/. $(DESTDIR)$(PREFIX)/share/ocishim/mpi.d/

# The directory with slurm/spank.h of the Slurm that is to load the plugin, in the same version.
SLURM_HEADERS ?= /usr/include
SPANK         ?= build/spank/spank_ocishim.so

.PHONY: spank
spank: $(SPANK) ## Slurm's plugin with pyxis's options, for the Slurm of SLURM_HEADERS

##@ For developers

.PHONY: unit
unit: build/bin/ocishim build/bin/tally ## unit and command-line tests: no root, no Slurm, two minutes
	$(GOTEST) -tags '$(TAGS)' $$($(GO) list -tags '$(TAGS)' $(TESTED) | grep -v -x -F "$$($(GO) list $(HEAVY))") | $(TALLY)
	$(GOTEST) -tags '$(TAGS)' -p 1 $(HEAVY) | $(TALLY)

.PHONY: integration
integration: build/bin/ocishim build/bin/ocishim-image build/bin/tally ## the scenarios on real Slurm, as root
	$(GOTEST) -tags '$(TAGS) integration' -count=1 -p 1 ./test/images ./test/integration | $(TALLY) -v

.PHONY: table
table: build/bin/ocishim ## the same with runc and crun, into docs/slurm.md and README.md; half an hour, as root
	hack/deps test
	CGO_ENABLED=1 $(GO) test -tags '$(TAGS) integration' -count=1 -v -timeout 3h -run TestSlurm ./test/integration \
		-args -runtime ocishim,runc,crun -slurm 24.11 -mode run,create -report $(CURDIR)/build/table.md
	hack/table build/table.md

.PHONY: scrun-table
scrun-table: build/bin/ocishim ## compare ocishim as scrun with Slurm's scrun, into docs/scrun.md; ten minutes, as root
	hack/deps test
	CGO_ENABLED=1 $(GO) test -tags '$(TAGS) integration' -count=1 -v -timeout 3h -run 'TestScrunMode$$' ./test/integration \
		-args -scrun-report $(CURDIR)/build/scrun.md
	hack/table build/scrun.md docs/scrun.md

.PHONY: conformance
conformance: conformance-check ## the suite of runtime-tools on ocishim, runc and crun, into docs/conformance.md; as root
conformance: REPORT = -args -write docs/conformance.md

.PHONY: conformance-check
conformance-check: build/bin/ocishim build/bin/tally build/conformance/programs ## the same without writing the document; a minute
	$(GOTEST) -tags '$(TAGS) integration' -count=1 ./test/conformance $(REPORT) | $(TALLY) -v

# The tests' own mount namespace: what other programs mount in build/sid goes with it.
.PHONY: images
images: roots build/bin/ocishim build/bin/ocishim-image ## compare images by name with other programs, into docs/images.md; half an hour, as root
	hack/deps test
	hack/peers
	unshare --mount --propagation private env CGO_ENABLED=1 $(GO) test -tags '$(TAGS) integration' -count=1 -v -timeout 2h -run 'TestOddImages$$' ./test/images \
		-args -peers $(CURDIR)/build/sid -report $(CURDIR)/build/odd-images.md
	hack/table build/odd-images.md docs/images.md 'odd images'
	$(MAKE) image-costs

.PHONY: image-costs
image-costs: roots build/bin/ocishim build/bin/ocishim-image ## what images by name cost, beside other programs, into docs/images.md; ten minutes, as root
	hack/deps test
	hack/peers
	CGO_ENABLED=0 $$(command -v build/go || command -v go) build -o build/bin/costs ./test/images/costs
	hack/peers exec costs /image /repo/build/costs.md
	hack/table build/costs.md docs/images.md costs
	build/bin/costs scale build/scale.md
	hack/table build/scale.md docs/images.md hosts

.PHONY: bench
bench: deps-for-bench build/bin/ocishim build/yardsticks/runc build/yardsticks/sample build/yardsticks/floor build/yardsticks/gofloor ## measure containers of ocishim and images with other programs, into docs/performance.md and docs/images.md; half an hour, as root
	$$(command -v build/go || command -v go) build -o build/yardsticks/bench ./test/bench
	CGO_ENABLED=1 $(GO) test -c -tags '$(TAGS)' -o build/yardsticks/mpi.test ./internal/mpi
	build/yardsticks/bench
	CGO_ENABLED=1 $(GO) test -tags '$(TAGS) integration' -count=1 -v -timeout 3h -run 'TestOverhead$$' ./test/integration \
		-args -overhead $(CURDIR)/build/overhead.md -pairs 50
	hack/table build/overhead.md docs/performance.md
	$(MAKE) image-costs

.PHONY: mpi
mpi: build/bin/ocishim ## compare MPI in containers and bare, into docs/mpi.md; on a quiet machine, as root
	hack/deps test
	CGO_ENABLED=1 $(GO) test -tags '$(TAGS) integration' -count=1 -v -timeout 3h -run 'TestMPI(Matrix)?$$' ./test/integration \
		-args -figures $(CURDIR)/build/mpi.md -repeats 9
	hack/table build/mpi.md docs/mpi.md
	hack/table build/mpi-matrix.md docs/mpi.md matrix

.PHONY: durations
durations: ## show what the last make test, unit or integration spent its time on
	@awk 'NF == 3' build/durations | sort -rn | head -8
	@awk 'NF > 3' build/durations | sort -rn | head -30

.PHONY: stress
stress: ## start tasks of a step at the same time and kill them at random: 100 rounds of 128; some minutes
	OCISHIM_TEST_ROUNDS=100 OCISHIM_TEST_TASKS=128 CGO_ENABLED=1 $(GO) test -count=1 -timeout 3h -tags '$(TAGS)' ./cmd/ocishim \
		-run 'TestStepNamespace|TestAsUser/TestStepNamespace'

.PHONY: fuzz
fuzz: ## fuzz the code that reads hostile input, 30 s each
	for f in FuzzLoad FuzzApply FuzzBytes; do $(GO) test ./bundle -run '^$$' -fuzz "^$$f$$" -fuzztime 30s -fuzzminimizetime 10x || exit; done
	$(GO) test ./internal/config -run '^$$' -fuzz '^FuzzLoad$$' -fuzztime 30s
	$(GO) test ./internal/linker/ldcache -run '^$$' -fuzz '^FuzzParse$$' -fuzztime 30s
	$(GO) test ./internal/host -run '^$$' -fuzz '^FuzzLibrary$$' -fuzztime 30s
	$(GO) test ./internal/image -run '^$$' -fuzz '^FuzzParseReference$$' -fuzztime 30s
	$(GO) test ./internal/image/source -run '^$$' -fuzz '^FuzzReadSIF$$' -fuzztime 30s -fuzzminimizetime 10x
	$(GO) test ./internal/image/layers -run '^$$' -fuzz '^FuzzFlatten$$' -fuzztime 30s -fuzzminimizetime 10x
	for f in FuzzRecall FuzzCommand; do $(GO) test ./internal/mpi -run '^$$' -fuzz "^$$f$$" -fuzztime 30s -fuzzminimizetime 10x || exit; done
	$(GO) test ./internal/yaml -run '^$$' -fuzz '^FuzzYAML$$' -fuzztime 30s
	for f in FuzzParseID FuzzExpand; do $(GO) test ./internal/slurm -run '^$$' -fuzz "^$$f$$" -fuzztime 30s || exit; done
	$(GO) test ./internal/entry -run '^$$' -fuzz '^FuzzName$$' -fuzztime 30s
	$(GO) test ./internal/image/serve -run '^$$' -fuzz '^FuzzServe$$' -fuzztime 30s -fuzzminimizetime 10x

.PHONY: lint
lint: ## gofumpt, golangci-lint, shellcheck where installed
	CGO_ENABLED=1 $(GO) run $(GOLANGCI_LINT) run ./...
	! command -v shellcheck >/dev/null || shellcheck -S warning hack/* .ci/run

.PHONY: advisories
advisories: ## list modules with newer versions, and advisories about pinned ones
	TAGS='$(TAGS)' hack/advisories

.PHONY: cluster-up
cluster-up: build/bin/ocishim ## start a Slurm cluster that keeps running, as root: SLURM=22.05|24.11|26.05 NODES=N
	hack/deps test
	hack/cluster up --name dev --slurm $(or $(SLURM),24.11) --nodes $(or $(NODES),3) \
		--oci oci.conf.d/$(if $(filter 22.05,$(SLURM)),22.05,run).conf
	@echo 'try: hack/cluster exec --user alice -- srun hostname'

.PHONY: cluster-down
cluster-down: ## stop that cluster
	hack/cluster down --name dev

.PHONY: clean
clean: ## remove build/, except the cached roots of other distributions
	find build -mindepth 1 -maxdepth 1 -not -name 'trixie*' -not -name 'bookworm*' -not -name 'forky*' -not -name 'sid*' -not -name 'images*' -exec rm -rf {} +

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

# ---- what the targets above need -------------------------------------------------

# As root the demo needs Slurm, without root only what building needs.
.PHONY: deps-for-demo
deps-for-demo:
	if [ "$$(id -u)" = 0 ]; then hack/deps test; else hack/deps build; fi

build/conformance/programs: test/conformance/suite/go.mod test/conformance/suite/go.sum go.mod hack/suite
	hack/suite build/conformance

.PHONY: deps-for-bench
deps-for-bench:
	hack/deps bench
	hack/deps test
	$(MAKE) roots

# What ocishim is compared with: runc in the version of the libcontainer in go.mod, built with
# ocishim's tags, and otherwise as by runc's own Makefile.
build/yardsticks/runc: go.mod Makefile
	go=$$(command -v build/go || command -v go) && \
	GOBIN=$(CURDIR)/build/yardsticks CGO_ENABLED=1 $$go install -trimpath -tags '$(TAGS)' -ldflags '-s -w -buildid= -extldflags=-static' \
		github.com/opencontainers/runc@$$($$go list -m -f '{{.Version}}' github.com/opencontainers/runc)
	touch $@

build/yardsticks/gofloor: test/bench/gofloor/main.go Makefile
	@mkdir -p build/yardsticks
	CGO_ENABLED=1 $$(command -v build/go || command -v go) build $(GOFLAGS_BUILD) -ldflags '-s -w -buildid= -extldflags=-static' -o $@ ./test/bench/gofloor

build/yardsticks/%: test/bench/%.c Makefile
	@mkdir -p build/yardsticks
	gcc -O2 -Wall -Wextra -static -o $@ $<

build/bin/tally: test/tally/main.go Makefile
	@mkdir -p build/bin
	$$(command -v build/go || command -v go) build -o $@ ./test/tally

# It is written only if it changes, so that nothing is rebuilt needlessly.
build/commit: FORCE
	@mkdir -p build
	@commit='$(COMMIT)'; [ "$$commit" = "$$(cat $@ 2>/dev/null)" ] || echo "$$commit" >$@

.PHONY: FORCE
FORCE:

# The flags are part of what is built: the same sources give the same bytes.
build/bin/ocishim: $(SOURCES) Makefile build/commit
	@[ -x build/go ] || command -v go >/dev/null || hack/deps build
	CGO_ENABLED=1 $$(command -v build/go || command -v go) build $(GOFLAGS_BUILD) -ldflags '$(LDFLAGS)' -o $@ ./cmd/ocishim

# Symbols of Slurm are those of the program that loads it.
$(SPANK): $(wildcard spank/*.[ch]) $(SLURM_HEADERS)/slurm/slurm_version.h Makefile
	@mkdir -p $(@D)
	gcc -std=gnu11 -O2 -Wall -Wextra -Werror -fPIC -fstack-protector-strong -shared -I'$(SLURM_HEADERS)' -o $@.part $(filter %.c,$^)
	mv $@.part $@

$(SLURM_HEADERS)/slurm/slurm_version.h:
	@echo 'make spank: no $@: install the headers of your Slurm (Debian: libslurm-dev), or give SLURM_HEADERS=DIR' >&2; exit 1

# It is no part of any launch, and needs no C.
build/bin/ocishim-image: $(SOURCES) Makefile build/commit
	@[ -x build/go ] || command -v go >/dev/null || hack/deps build
	CGO_ENABLED=0 $$(command -v build/go || command -v go) build -trimpath -buildvcs=false -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o $@ ./cmd/ocishim-image
