package stage

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func node(t *testing.T, text string) *yaml.Node {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	return n.Content[0]
}

// TestDecode: a stage can be written down, with defaults for what is left out.
func TestDecode(t *testing.T) {
	got, want := DefaultScore(), DefaultScore()
	want.Model, want.Metrics, want.Samples, want.Memory, want.AddBOS = "./m", []string{"bi", "cka"}, 50, "4GiB", "auto"
	if err := Decode(node(t, "model: ./m\nmetric: [bi, cka]\nsamples: 50\nmemory: 4GiB\nadd_bos: auto"), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	err := Decode(node(t, "model: m\nsample: 5"), &got)
	if err == nil || !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "line 2: unknown key sample; did you mean sample") {
		t.Errorf("%v", err)
	}
}

// TestEveryStageDecodes: no stage has two fields of one key, and every field has one.
func TestEveryStageDecodes(t *testing.T) {
	bench, compare, curve, ev, generate, heal := DefaultBench(), DefaultCompare(), DefaultCurve(), DefaultEval(), DefaultGenerate(), DefaultHeal()
	logProbs, ppl, prune, score, selfcheck, variants := DefaultLogProbs(), DefaultPPL(), DefaultPrune(), DefaultScore(), DefaultSelfcheck(), DefaultVariants()
	for _, s := range []any{
		&bench, &compare, &curve, &ev, &generate, &heal, &logProbs, &ppl, &prune, &score, &selfcheck, &variants, &Inspect{}, &Pull{}, &Push{}, &Tokenize{},
	} {
		before := reflect.ValueOf(s).Elem().Interface()
		if err := Decode(node(t, "{}"), s); err != nil {
			t.Errorf("%T: %v", s, err)
		}
		if diff := cmp.Diff(before, reflect.ValueOf(s).Elem().Interface()); diff != "" {
			t.Errorf("%T: nothing changed something:\n%s", s, diff)
		}
		for f := range fields(reflect.TypeOf(s).Elem()) {
			if _, ok := f.Tag.Lookup("yaml"); !ok {
				t.Errorf("%T: %s has no key", s, f.Name)
			}
		}
	}
}

// fields are those of a struct and of the structs in it that are inline.
func fields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Tag.Get("yaml") == ",inline" {
				if !slices.ContainsFunc(slices.Collect(fields(f.Type)), func(f reflect.StructField) bool { return !yield(f) }) {
					continue
				}
				return
			}
			if !yield(f) {
				return
			}
		}
	}
}
