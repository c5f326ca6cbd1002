# Everything a developer or a packager calls; `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash

VERSION ?= 0.1.0-dev
PREFIX  ?= /usr/local
DESTDIR ?=

# Go as hack/deps finds or brings it.
GO      := $(shell command -v build/go 2>/dev/null || echo go)
TAGS    := netgo osusergo seccomp
LDFLAGS := -s -w -buildid= -X main.version=$(VERSION) -extldflags=-static
SOURCES := $(shell find bundle cmd internal runtime -name '*.go' -not -name '*_test.go') go.mod go.sum

build/bin/ocishim: $(SOURCES)
	CGO_ENABLED=1 $(GO) build -trimpath -buildvcs=false -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o $@ ./cmd/ocishim
