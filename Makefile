# Sluice. `make help` explains the targets.

HTTP_PORT  ?= 80
HTTPS_PORT ?= 443
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO         ?= go
LDFLAGS     = -s -w -X main.version=$(VERSION)
# "alldns" builds every DNS provider in (+45 MB on disk and in memory); the image has them
# unless `make image TAGS=`; a plain build and `make up` have exec, httpreq and rfc2136.
# PGO is where CPU time goes under load (make profile): compiled by it, a request costs 6 to 10 % less.
PGO        ?= cmd/sluice/loops.pgo
GOBUILD     = CGO_ENABLED=0 $(GO) build -trimpath -pgo='$(PGO)' -tags '$(TAGS)' -ldflags '$(LDFLAGS)'
FUZZTIME   ?= 10s
# Packages of `make unit` and `make race`, and tests of `make e2e`, where not all are wanted.
PACKAGES   ?= $$($(GO) list ./... | grep -v '/e2e$$')
RUN        ?= .
# What the tests use beyond Go and the engine, as command:package or file:package pairs.
PYTHON_LIB  = /usr/lib/python3/dist-packages
TEST_TOOLS  = make:make redis-server:redis-server openssl:openssl chromium:chromium uvicorn:uvicorn $(foreach p,fastapi websockets socketio aiohttp,$(PYTHON_LIB)/$(p):python3-$(p))

export HTTP_PORT HTTPS_PORT VERSION

.DEFAULT_GOAL := help
.PHONY: help build image setup up down logs test unit e2e check format vet arch race generate generated lint bench profile soak fuzz clean

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  HTTP_PORT=$(HTTP_PORT) HTTPS_PORT=$(HTTPS_PORT): ports of 'make up', for example: make up HTTP_PORT=8080 HTTPS_PORT=8443"

build: ## Build the static binary bin/sluice
	$(GOBUILD) -o bin/sluice ./cmd/sluice

IMAGE_TAGS ?= alldns
image: TAGS = $(IMAGE_TAGS)
up: IMAGE_TAGS =
image: build ## Build the container image sluice:dev (FROM scratch)
	@tools/image.sh

setup: ## Install and start what is missing: Docker engine, compose (idempotent)
	@tools/setup.sh

up: setup image ## Start the router with demo apps and wait until all answer
	@tools/up.sh

down: ## Remove everything 'make up' made
	@tools/down.sh

logs: ## Follow the router's log of 'make up'
	@docker logs -f $$(docker ps -qf label=com.docker.compose.project=sluice -f label=com.docker.compose.service=router)

test: ## Run every test: units, then end to end on the Docker engine
	@tools/setup.sh $(TEST_TOOLS)
	@$(MAKE) --no-print-directory -k unit e2e

unit: ## Run the unit tests only (no engine needed)
	$(GO) test -timeout 5m $(PACKAGES)

e2e: build ## Run the end-to-end tests only (needs the engine: make setup)
	SLUICE_REQUIRE_DOCKER=$${SLUICE_REQUIRE_DOCKER-1} SLUICE_BINARY=$(CURDIR)/bin/sluice $(GO) test -count=1 -timeout 10m -v -run '$(RUN)' ./e2e 2>&1 | tools/brief.sh

check: format vet arch generated race ## The gate: format, vet, staticcheck, architecture, generated files, race tests

format: ## Fail if a Go file is not gofmt-ed
	@out=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go' 2>/dev/null || find . -name '*.go')); \
	if [ -n "$$out" ]; then echo "not gofmt-ed:"; echo "$$out"; exit 1; fi

vet: ## go vet and staticcheck (pinned in tools/go.mod)
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...

arch: ## Check the import table, package comments, sizes
	$(GO) test -count=1 ./internal/archtest

generate: ## Write the generated files anew (reference pages, descriptions)
	$(GO) run ./internal/docgen/cmd

generated: ## Fail if generated files are stale
	$(GO) test -count=1 ./internal/docgen

race: ## Unit tests with the race detector (needs a C compiler)
	$(GO) test -race -timeout 10m $(PACKAGES)

lint: ## golangci-lint, pinned in tools/go.mod (its first build takes minutes)
	$(GO) tool -modfile=tools/go.mod golangci-lint run

bench: build ## Benchmark beside nginx, HAProxy and Caddy; writes docs/performance.md
	$(GO) run ./bench run

profile: build ## Take the CPU profile anew by which the binary is compiled
	$(GO) run ./bench profile -out $(PGO)

soak: build ## Minutes of load with aborts, slow clients and restarting backends
	$(GO) run ./bench soak

fuzz: ## Run every fuzz target for FUZZTIME (10s)
	@FUZZTIME=$(FUZZTIME) tools/fuzz.sh

clean: ## Remove build products
	rm -rf bin dist
