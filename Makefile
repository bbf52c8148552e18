# Coppice. `make demo` and `make test` need Go; they install oneDNN (Debian's
# libdnnl2) where they may, and go on with the Go kernels where not.

GO     ?= go
BIN    := bin/coppice
# Tested a second time with the Go kernels alone; engine/cpu, score and generate
# test both in one run.
NUMERIC := ./forest ./internal/cli

export CGO_ENABLED := 0
# Vector kernels; without it the build works and is slower.
export GOEXPERIMENT := simd

.PHONY: sapling sapling-figures build demo test test-slow bare-clone-test goldens bench lint cross fuzz race oracle install-deps clean

build:
	$(GO) build -buildvcs=auto -trimpath -o $(BIN) ./cmd/coppice

demo: install-deps build
	./$(BIN) demo

test: install-deps
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) test ./...
	COPPICE_ONEDNN=off $(GO) test $(NUMERIC)
	GO=$(GO) ./scripts/test-levels
	$(MAKE) --no-print-directory cross fuzz

test-slow: test race bare-clone-test
	COPPICE_SLOW=1 $(GO) test -timeout 60m ./...
	./scripts/clang-kernels
	GO=$(GO) ./scripts/measure-gpu pack
	REHEARSE=1 ./scripts/measure-gpu bin/measured
	GO=$(GO) ./scripts/llamacpp-test

# What a clone shows that has no shared material beside it; counts what skips.
bare-clone-test:
	./scripts/bare-clone-test

# The golden values, computed anew with PyTorch and compared.
PYTHON ?= python3
goldens:
	$(PYTHON) scripts/goldens.py check testdata/goldens/*/

# Checkpoints that nobody has seen before, made with PyTorch.
oracle:
	COPPICE_SLOW=1 $(GO) test -v -run 'Fresh' ./engine/... ./prune ./internal/cli

# Sapling anew, in SAPLING: its world, the first weights, the stages of training. What
# was interrupted goes on. The result is compared with what ships: byte for byte the
# same on the same kind of processor.
SAPLING ?= sapling
TRAIN := COPPICE_KERNELS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2 ./$(BIN) heal
HEAL := --validation 0 --max-length 128 --micro-batch-tokens 2048 \
	--weight-decay 0.1 --betas 0.9,0.98 --dtype float32 --keep last --save-every 2m --yes
FACTS := --data $(SAPLING)/facts/texts.jsonl --data $(SAPLING)/facts/exchanges.jsonl
SKILLS := --data $(SAPLING)/skills/texts.jsonl --data $(SAPLING)/skills/exchanges.jsonl
LETTERS := --data $(SAPLING)/skills/texts.jsonl:0.25 --data $(SAPLING)/skills/exchanges.jsonl:0.25 --data $(SAPLING)/letters/lists.jsonl:0.5
WHOLE := --data $(SAPLING)/train/texts.jsonl --data $(SAPLING)/train/exchanges.jsonl --data $(SAPLING)/train/instructions.jsonl
sapling: install-deps build
	$(GO) run ./internal/sapling/grow -out $(SAPLING)
	test -d $(SAPLING)/start || ./$(BIN) init $(SAPLING)/model --out $(SAPLING)/start --seed 2025
	$(TRAIN) $(SAPLING)/start --out $(SAPLING)/stage1 --method full $(WHOLE) $(HEAL) \
		--steps 193 --batch-size 128 --lr 3e-3 --warmup-steps 30 --schedule constant --seed 2025
	$(TRAIN) $(SAPLING)/start --init-from $(SAPLING)/stage1 --out $(SAPLING)/stage2 --method full $(FACTS) $(HEAL) \
		--steps 334 --batch-size 32 --lr 2e-3 --warmup-steps 20 --schedule constant --seed 2026
	$(TRAIN) $(SAPLING)/stage2 --out $(SAPLING)/stage3 --method partial --last 4 $(WHOLE) $(HEAL) \
		--steps 554 --batch-size 48 --lr 2e-3 --warmup-steps 20 --schedule constant --seed 2027
	$(TRAIN) $(SAPLING)/stage3 --out $(SAPLING)/stage4 --method partial --last 3 $(WHOLE) $(HEAL) \
		--steps 350 --batch-size 48 --lr 2e-3 --warmup-steps 20 --schedule linear --seed 2028
	$(TRAIN) $(SAPLING)/stage4 --out $(SAPLING)/stage5 --method partial --last 3 $(SKILLS) $(HEAL) \
		--steps 450 --batch-size 48 --lr 2e-3 --warmup-steps 20 --schedule linear --seed 2029
	$(TRAIN) $(SAPLING)/stage5 --out $(SAPLING)/stage6 --method partial --last 3 $(LETTERS) $(HEAL) \
		--steps 250 --batch-size 64 --lr 3e-3 --warmup-steps 20 --schedule linear --seed 2030
	cmp $(SAPLING)/stage6/model.safetensors internal/sapling/files/model/model.safetensors

# Its figures, and docs/sapling.md with them.
sapling-figures: build
	$(GO) run ./internal/sapling/figures -coppice $(BIN) -work $(SAPLING)/figures -training $(SAPLING)/stage1,$(SAPLING)/stage2,$(SAPLING)/stage3,$(SAPLING)/stage4,$(SAPLING)/stage5,$(SAPLING)/stage6

# Needs gcc: the race detector is C.
race:
	CGO_ENABLED=1 $(GO) test -race ./engine/... ./forest ./score ./generate ./checkpoint ./tokenizer ./hub

FUZZTIME ?= 3s
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
