# Coppice. `make demo` and `make test` need Go; they install oneDNN (Debian's
# libdnnl2) where they may, and go on with the Go kernels where not.

GO     ?= go
PYTHON ?= python3
BIN    := bin/coppice
export CGO_ENABLED := 0
# Vector kernels; without it the build works and is slower.
export GOEXPERIMENT := simd

.PHONY: sapling sapling-figures build demo test test-slow bare-clone-test transformers-test goldens bench lint cross fuzz race oracle install-deps clean

build:
	$(GO) build -buildvcs=auto -trimpath -o $(BIN) ./cmd/coppice

demo: install-deps build
	./$(BIN) demo

# Ten minutes a package, which is what go test gives them, are few for a slow disk.
test: install-deps
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) test -timeout 30m ./...
	GO=$(GO) ./scripts/test-levels
	$(MAKE) --no-print-directory cross fuzz

test-slow: test race bare-clone-test
	$(MAKE) --no-print-directory fuzz FUZZTIME=20000x
	COPPICE_SLOW=1 $(GO) test -timeout 60m ./...
	./scripts/clang-kernels
	GO=$(GO) ./scripts/measure-gpu pack
	REHEARSE=1 ./scripts/measure-gpu bin/measured
	GO=$(GO) ./scripts/llamacpp-test
	$(MAKE) --no-print-directory transformers-test

# What transformers and peft compute of the same checkpoints and adapters; skips where
# there is neither a PYTHON that has them nor a ROOTFS (the script says how to make one).
transformers-test:
	GO=$(GO) PYTHON=$(PYTHON) ./scripts/transformers-test

# What a clone shows that has no shared material beside it; counts what skips.
bare-clone-test:
	./scripts/bare-clone-test

# The golden values, computed anew with PyTorch and compared.
goldens:
	$(PYTHON) scripts/goldens.py check testdata/goldens/*/

# Checkpoints that nobody has seen before, made with PyTorch.
oracle:
	COPPICE_SLOW=1 $(GO) test -v -run 'Fresh|ReferenceGoldens' ./engine/... ./prune ./internal/cli

# Sapling anew, in SAPLING: its world, the first weights, the stages of training
# (internal/sapling/training). What was interrupted goes on. The result is compared
# with what ships, byte for byte; kernels are held to those that made it.
SAPLING ?= sapling
SHIPPED := COPPICE_KERNELS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2
sapling: install-deps build
	$(SHIPPED) $(GO) run ./internal/sapling/grow -out $(SAPLING) -coppice $(BIN)
	cmp $(SAPLING)/stage6/model.safetensors internal/sapling/files/model/model.safetensors

# Its figures, and docs/sapling.md with them, from what training left in SAPLING.
sapling-figures: build
	$(SHIPPED) $(GO) run ./internal/sapling/figures -coppice $(BIN) -sapling $(SAPLING)

# Needs gcc: the race detector is C. Vector loads of a slice's end point past it and
# mask what lies there, which -race would have checked as a pointer.
VECTORS := github.com/coppice-ml/coppice/engine/cpu
race:
	CGO_ENABLED=1 $(GO) test -race -timeout 60m -gcflags=$(VECTORS)=-d=checkptr=0 -gcflags=simd/archsimd=-d=checkptr=0 ./engine/... ./forest ./score ./generate ./checkpoint ./tokenizer ./hub

# Seeds and what was found before are tests like others; this looks for more. It is
# given as a number of inputs: Go's fuzzing now and then fails with "context deadline
# exceeded", and nothing found, when a time runs out (golang/go#75804).
FUZZTIME ?= 1000x
fuzz:
	./scripts/fuzz $(FUZZTIME)

# Every platform builds; those without purego use the Go kernels. So does a build
# without vector kernels.
cross:
	GOOS=linux GOARCH=arm64 $(GO) build ./...
	GOOS=darwin GOARCH=arm64 $(GO) build ./...
	GOOS=windows GOARCH=amd64 $(GO) build ./...
	$(GO) build -tags nopurego ./...
	GOEXPERIMENT= $(GO) build ./...

# Forward passes with their ratio to the limit of the same run, and kernels.
bench: install-deps build
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m ./internal/bench
	$(GO) test -run '^$$' -bench . ./engine/cpu ./tokenizer ./checkpoint

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.6.2
lint:
	@if command -v golangci-lint >/dev/null; then golangci-lint run; else $(GO) run $(GOLANGCI) run; fi

install-deps:
	@./scripts/install-deps

clean:
	rm -rf bin
