package coppice

import (
	"go/parser"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/coppice-ml/coppice"

// importRule says which packages of the module a package may import. A line
// "a < b c" lets b and c, and whatever stands above them in turn, import a. A
// package that is not listed may not be imported, and imports nothing of the
// module. internal/testkit and enginetest serve tests; only tests import them.
const importRule = `
	# the ground: the file format, text, what commands print
	internal/mmap < safetensors torchfile checkpoint chat generate
	internal/mmap < data prune report stage run internal/selfcheck
	internal/pyjson    < checkpoint model tokenizer chat generate
	internal/layerlist < report prune model
	internal/meter     < checkpoint hub
	internal/hubid     < hub prune
	internal/shell     < prune report/page stage internal/cli
	internal/pyjson    < prune report heal/adapter data
	safetensors < checkpoint model torchfile internal/number
	internal/number < heal/adapter engine/cpu engine/enginetest/slow score internal/synth
	torchfile   < checkpoint
	checkpoint  < model prune
	model       < engine prune internal/bench
	tokenizer/onig < tokenizer
	chat/jinja/py      < chat/jinja/builtin chat/jinja/syntax
	chat/jinja/builtin < chat/jinja
	chat/jinja/syntax  < chat/jinja
	chat/jinja         < chat eval
	data        < eval
	report      < eval stage internal/bench internal/plot internal/cli

	# forms of other programs
	gguf chat tokenizer checkpoint model engine/block internal/number < export
	gguf export < stage

	# what runs models
	engine      < engine/cpu engine/cuda resident heal
	resident    < forest generate stage internal/bench
	heal        < internal/bench
	model safetensors < heal/adapter
	model       < engine/block
	engine/block internal/number safetensors < engine/cuda
	engine/block < engine/cpu
	heal/adapter < heal
	model safetensors checkpoint < heal/overlay
	heal/overlay < stage
	engine/cpu engine/cuda < engine/all
	engine/all  < internal/doctor stage
	forest      < score eval internal/bench
	score       < internal/bench
	generate    < eval internal/bench

	# what can be asked of a model, without a command line
	score prune eval eval/compare generate heal heal/adapter < stage
	data hub chat tokenizer                                  < stage
	internal/doctor internal/nearest internal/selfcheck internal/bench < stage
	stage       < internal/cli
	report internal/wholefile < run/rundir
	run/rundir  < run report/digest
	report eval/compare        < report/stat
	report/stat                < stage report/digest
	report/digest internal/plot internal/wholefile < report/page
	report/page < internal/cli
	stage prune generate internal/strictyaml internal/nearest internal/filelock < run
	run         < internal/cli

	# what surrounds them
	internal/filelock < hub internal/journal
	internal/wholefile < stage internal/plot internal/sapling
	internal/plot    < internal/cli
	internal/journal < score eval
	internal/tensorboard < stage
	internal/nearest < score prune hub internal/strictyaml internal/cli
	internal/strictyaml < eval stage
	hub              < internal/cli
	forest             < internal/selfcheck
	safetensors     < internal/synth
	internal/synth  < internal/bench internal/testkit
	internal/sapling < internal/cli
	internal/sapling/world stage heal tokenizer < internal/sapling/training
	internal/sapling internal/sapling/bpe internal/sapling/training < internal/sapling/grow
	internal/sapling internal/sapling/training < internal/sapling/figures
	report resident < internal/doctor
	internal/doctor < internal/cli
	internal/cli    < cmd/coppice

	# what tests share
	safetensors      < internal/testkit
	internal/testkit < engine/enginetest
	engine checkpoint model safetensors < engine/enginetest
	engine engine/block model safetensors < engine/enginetest/slow
	engine/enginetest/slow < engine/enginetest
`

// neverRule holds even if importRule is changed carelessly: "a -> b c" means
// that a must not reach b or c, directly or through others.
const neverRule = `
	stage       -> internal/cli
	heal        -> score eval forest
	prune       -> engine forest score generate
	report      -> engine model
	engine      -> resident forest score generate prune
	resident    -> forest score generate
	generate    -> forest
	engine/block -> engine
	run/rundir  -> engine model stage
	report/page -> engine model stage run
	safetensors -> checkpoint
	torchfile   -> checkpoint
	tokenizer   -> model engine checkpoint
	chat        -> model engine checkpoint tokenizer
	data        -> model engine checkpoint tokenizer
	export      -> engine forest score generate
`

// throughRule names what a package may reach through others only: "a -> b c"
// means that a must not import b or c itself.
const throughRule = `
	internal/cli -> engine engine/cpu engine/block forest generate score eval eval/compare heal heal/adapter
	internal/cli -> prune model checkpoint chat tokenizer data export gguf internal/selfcheck internal/bench
`

// allowed expands importRule: for each package, all that it may import.
func allowed(t *testing.T) map[string]map[string]bool {
	t.Helper()
	direct := map[string][]string{}
	for line := range strings.Lines(importRule) {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		left, right, ok := strings.Cut(line, "<")
		if !ok {
			t.Fatalf("import rule: %q has no <", line)
		}
		for _, above := range strings.Fields(right) {
			direct[above] = append(direct[above], strings.Fields(left)...)
		}
	}
	out := map[string]map[string]bool{}
	for pkg := range direct {
		out[pkg] = map[string]bool{}
		reach(direct, pkg, out[pkg])
	}
	return out
}

func reach(edges map[string][]string, from string, seen map[string]bool) {
	for _, to := range edges[from] {
		if !seen[to] {
			seen[to] = true
			reach(edges, to, seen)
		}
	}
}

// imports lists what each package imports of the module, outside tests.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, s := range sources(t, parser.ImportsOnly) {
		if s.isTest() {
			continue
		}
		for _, i := range s.file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if rest, ok := strings.CutPrefix(path, module+"/"); ok && !slices.Contains(out[s.dir], rest) {
				out[s.dir] = append(out[s.dir], rest)
			}
		}
	}
	return out
}

func TestImports(t *testing.T) {
	rule := allowed(t)
	actual := imports(t)
	if len(actual) < 10 {
		t.Fatalf("only %d packages import anything: the test looks at the wrong place", len(actual))
	}
	for pkg, list := range actual {
		for _, path := range list {
			if !rule[pkg][path] {
				t.Errorf("%s imports %s, which the rule does not allow", pkg, path)
			}
		}
	}
	for line := range strings.Lines(throughRule) {
		from, to, _ := strings.Cut(line, "->")
		for _, forbidden := range strings.Fields(to) {
			if slices.Contains(actual[strings.TrimSpace(from)], forbidden) {
				t.Errorf("%s imports %s itself", strings.TrimSpace(from), forbidden)
			}
		}
	}
	for line := range strings.Lines(neverRule) {
		from, to, ok := strings.Cut(line, "->")
		if !ok {
			continue
		}
		seen := map[string]bool{}
		reach(actual, strings.TrimSpace(from), seen)
		for _, forbidden := range strings.Fields(to) {
			if seen[forbidden] {
				t.Errorf("%s reaches %s", strings.TrimSpace(from), forbidden)
			}
		}
	}
}
