package coppice

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// importRule says which packages of the module may import which. "a < b < c"
// lets b import a, and c import b and, through it, a; a comma lists several.
// Every package appears somewhere. "NEVER a -> b" is checked on everything a
// imports, directly or not: it says why the lines above are as they are.
// Test files are free, and only they may import testkit and enginetest.
const importRule = `
	# The file format, the directory, the family, the seam, its engines.
	safetensors < checkpoint < model < engine < engine/cpu;

	# A plan and a checkpoint make a smaller checkpoint.
	checkpoint, model < prune;

	# One pass over the weights, and what asks for it.
	model, engine < forest < score;
	model, engine, forest < generate;

	# Leaves: no package of this module below them.
	tokenizer, report, data < internal/cli;

	# Made-up models for tests, benchmarks and the demo.
	safetensors < internal/synth < internal/testkit;
	internal/synth < internal/demo;
	internal/synth, forest, engine/cpu < internal/bench;
	engine/cpu < internal/doctor;
	engine, internal/testkit < engine/enginetest;

	# The house's top.
	prune, score, generate, engine/cpu < internal/cli;
	internal/demo, internal/bench, internal/doctor < internal/cli;
	internal/cli < cmd/coppice;

	NEVER prune -> engine, forest, score;   # a plan is all it needs
	NEVER report -> engine, model;          # it reads files
	NEVER engine -> forest, score;          # an engine knows no metric
	NEVER cmd/coppice -> internal/testkit, engine/enginetest;
`

func TestImports(t *testing.T) {
	rule, err := parseRule(importRule)
	if err != nil {
		t.Fatal(err)
	}
	packages := parsePackages(t)
	for _, problem := range rule.check(imports(packages)) {
		t.Error(problem)
	}
}

// imports returns what each package's non-test files import of this module,
// whatever their build constraints.
func imports(packages []sourcePackage) map[string][]string {
	const prefix = modulePath + "/"
	out := map[string][]string{}
	for _, p := range packages {
		if p.dir == "." {
			continue
		}
		out[p.dir] = nil
		for _, f := range p.files {
			for _, spec := range f.syntax.Imports {
				if dir, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), prefix); ours {
					out[p.dir] = append(out[p.dir], dir)
				}
			}
		}
	}
	return out
}

// rule is a parsed import rule.
type rule struct {
	below map[string][]string // package -> those directly below it
	never []forbidden
}

type forbidden struct {
	from string
	to   []string
}

func parseRule(text string) (rule, error) {
	r := rule{below: map[string][]string{}}
	var plain strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		plain.WriteString(line + " ")
	}
	for statement := range strings.SplitSeq(plain.String(), ";") {
		statement = strings.TrimSpace(statement)
		if pair, ok := strings.CutPrefix(statement, "NEVER "); ok {
			from, to, found := strings.Cut(pair, "->")
			if !found {
				return r, fmt.Errorf("no arrow in %q", statement)
			}
			r.never = append(r.never, forbidden{strings.TrimSpace(from), list(to)})
			continue
		}
		var lower []string
		for level := range strings.SplitSeq(statement, "<") {
			upper := list(level)
			for _, p := range upper {
				r.below[p] = append(r.below[p], lower...)
			}
			lower = upper
		}
	}
	return r, nil
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' || c == '\n' })
}

// check returns every way in which imports break the rule.
func (r rule) check(imports map[string][]string) []string {
	var problems []string
	for _, p := range slices.Sorted(maps.Keys(imports)) {
		if _, known := r.below[p]; !known {
			problems = append(problems, fmt.Sprintf("%s is not in the import rule: give it a place", p))
			continue
		}
		allowed := reach(r.below, p)
		for _, q := range slices.Compact(slices.Sorted(slices.Values(imports[p]))) {
			if !allowed[q] {
				problems = append(problems, fmt.Sprintf("%s imports %s, which the rule does not allow", p, q))
			}
		}
	}
	for _, p := range slices.Sorted(maps.Keys(r.below)) {
		if _, exists := imports[p]; !exists {
			problems = append(problems, fmt.Sprintf("the import rule names %s, which does not exist", p))
		}
		if reach(r.below, p)[p] {
			problems = append(problems, fmt.Sprintf("the import rule puts %s below itself", p))
		}
	}
	for _, f := range r.never {
		got := reach(imports, f.from)
		for _, to := range f.to {
			if got[to] {
				problems = append(problems, fmt.Sprintf("%s depends on %s, which it never may", f.from, to))
			}
		}
	}
	return problems
}

// reach is what can be reached from a package in one or more steps.
func reach(graph map[string][]string, from string) map[string]bool {
	seen := map[string]bool{}
	var visit func(string)
	visit = func(p string) {
		for _, q := range graph[p] {
			if !seen[q] {
				seen[q] = true
				visit(q)
			}
		}
	}
	visit(from)
	return seen
}

func TestRuleFindsBreaches(t *testing.T) {
	const text = "a < b < c; d < c; NEVER c -> a;"
	for _, tt := range []struct {
		name    string
		imports map[string][]string
		want    string // the only problem; "" is none
	}{
		{"allowed", map[string][]string{"a": nil, "b": {"a"}, "c": {"d"}, "d": nil}, ""},
		{"upwards", map[string][]string{"a": {"d"}, "b": nil, "c": nil, "d": nil}, "a imports d, which the rule does not allow"},
		{"unknown", map[string][]string{"a": nil, "b": nil, "c": nil, "d": nil, "e": nil}, "e is not in the import rule: give it a place"},
		{"gone", map[string][]string{"a": nil, "b": nil, "c": nil}, "the import rule names d, which does not exist"},
		{"never, through another", map[string][]string{"a": nil, "b": {"a"}, "c": {"b"}, "d": nil}, "c depends on a, which it never may"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := parseRule(text)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(r.check(tt.imports), "; "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
