package enginetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

// testTransformers compares every hidden state, logits, losses and gradients,
// greedy decoding, and the model without two layers with what transformers' own
// classes gave, of larger checkpoints than the repository's.
func testTransformers(t *testing.T, build New) {
	for _, dir := range testkit.Transformers(t) {
		t.Run("transformers/"+filepath.Base(dir), func(t *testing.T) {
			g := testkit.LoadGoldens(t, dir)
			e := build(t, engine.Float32)
			theirForward(t, e, g)
			if _, ok := e.(engine.Trainer); ok {
				theirGradients(t, e, g)
			}
		})
	}
}

// looseLogits is the tolerance where logits are large, as those of tied heads are.
const looseLogits = 5e-4

func theirForward(t *testing.T, e engine.Engine, g *testkit.Goldens) {
	m := Open(t, g.Checkpoint)
	r := load(t, e, m)
	b := pack(g.Sequences(t, "input_ids")...)
	hidden, logits := r.forward(t, b, nil)
	last := hidden[len(hidden)-1]
	hidden[len(hidden)-1] = finalNorm(t, r, last)
	want, _ := g.Array(t, "hidden")
	n := len(want) / len(hidden)
	for i := range hidden {
		within(t, fmt.Sprintf("hidden %d", i), hidden[i], want[i*n:(i+1)*n], logitTolerance)
	}
	tolerance := logitTolerance
	if m.Spec.Tied {
		tolerance = looseLogits
	}
	want, _ = g.Array(t, "logits")
	within(t, "logits", logits, want, tolerance)
	var loss float64
	scores := logProbs(t, r, b, last)
	for _, s := range scores {
		loss -= s.LogProb / float64(len(scores))
	}
	if d := math.Abs(loss - g.Float(t, "loss")); !(d <= max(lossTolerance, 1e-6*loss)) {
		t.Errorf("loss = %g, want %g", loss, g.Float(t, "loss"))
	}
	_, pruned := r.without(1, 3).forward(t, b, nil)
	want, _ = g.Array(t, "pruned_1_3.logits")
	within(t, "logits without layers 1 and 3", pruned, want, tolerance)
	theirGreedy(t, r, g)
	theirConfig(t, m, g)
}

// theirGreedy decodes from the whole sequence anew.
func theirGreedy(t *testing.T, r *resident, g *testkit.Goldens) {
	var want []int32
	g.Decode(t, &want, "greedy")
	ids := slices.Clone(want[:9])
	for len(ids) < len(want) {
		_, logits := r.forward(t, pack(ids), nil)
		ids = append(ids, argmax(logits[len(logits)-r.m.Spec.Vocab:]))
	}
	if !slices.Equal(ids, want) {
		t.Errorf("greedy %v, want %v", ids, want)
	}
}

// theirConfig compares the config of the pruned model with transformers' own:
// they must mean the same.
func theirConfig(t *testing.T, m *model.Model, g *testkit.Goldens) {
	raw, err := os.ReadFile(filepath.Join(g.Checkpoint, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	pruned, err := m.Spec.PruneConfig(raw, []int{0, 2, 4, 5})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile(filepath.Join(g.Dir, "pruned_config.json"))
	if err != nil {
		t.Fatal(err)
	}
	sameKeys(t, pruned, theirs)
	got, err := model.ParseConfig(pruned)
	if err != nil {
		t.Fatal(err)
	}
	want, err := model.ParseConfig(theirs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Layers {
		if got.Window(i) != want.Window(i) || got.RopeOf(i).Dim != want.RopeOf(i).Dim || got.RopeOf(i).Theta != want.RopeOf(i).Theta {
			t.Errorf("layer %d of the pruned config: window %d, rotary %+v; transformers' has %d, %+v", i, got.Window(i), got.RopeOf(i), want.Window(i), want.RopeOf(i))
		}
	}
	if got.Layers != 4 || got.Layers != want.Layers {
		t.Errorf("%d layers in the pruned config", got.Layers)
	}
}

// sameKeys compares every key that ours has but the dtype, which theirs gives as it
// was computed, and an index past the layers, which counts for nothing.
func sameKeys(t *testing.T, ours, theirs []byte) {
	t.Helper()
	var got, want map[string]any
	if err := errors.Join(json.Unmarshal(ours, &got), json.Unmarshal(theirs, &want)); err != nil {
		t.Fatal(err)
	}
	for key, value := range got {
		if key != "dtype" && key != "max_window_layers" && !reflect.DeepEqual(value, want[key]) {
			t.Errorf("%s of the pruned config is %v, transformers' %v", key, value, want[key])
		}
	}
}

// theirGradients compares the gradients that transformers wrote: of some layers
// and of all outside them.
func theirGradients(t *testing.T, e engine.Engine, g *testkit.Goldens) {
	r := train(t, e, Open(t, g.Checkpoint), everything, nil)
	labels := g.Sequences(t, "input_ids")
	r.loss(mean(labels, nil, labels))
	got, want := r.gradients(), map[string][]float32{}
	for _, name := range g.Names("grad.") {
		want[name], _ = g.Array(t, "grad."+name)
		if got[name] == nil {
			t.Errorf("no gradient of %s", name)
		}
	}
	for name := range got {
		if want[name] == nil {
			delete(got, name)
		}
	}
	sameGradients(t, "", got, want, gradientTolerance(engine.Float32))
}

// testLengths holds models whose rotary embeddings depend on a sequence's length to
// their contract: every sequence as if it were alone.
func testLengths(t *testing.T, build New) {
	for _, name := range []string{"phi3_longrope", "llama_dynamic"} {
		t.Run(name, func(t *testing.T) {
			r := load(t, build(t, engine.Float32), Open(t, testkit.Golden(t, name).Checkpoint))
			v := r.m.Spec.Vocab
			var seqs [][]int32
			for i, n := range []int{20, 32, 33, 37, 130} {
				seqs = append(seqs, tokens(n, v, uint64(i+1)))
			}
			b := pack(seqs...)
			_, logits := r.forward(t, b, nil)
			for i, seq := range seqs {
				_, want := r.forward(t, pack(seq), nil)
				sameBits(t, fmt.Sprintf("%d tokens", len(seq)), rows(logits, b.Segments[i], v), want)
			}
			shortAndLong(t, r)
		})
	}
}

// shortAndLong branches a context of 30 tokens into sequences on both sides of the
// original length, which cannot share it.
func shortAndLong(t *testing.T, r *resident) {
	v := r.m.Spec.Vocab
	context30, short, long := tokens(30, v, 7), tokens(1, v, 8), tokens(6, v, 9)
	b := &engine.Batch{}
	first := b.Add(context30, engine.NoParent)
	one := b.Add(short, first)
	second := b.Add(context30, engine.NoParent)
	other := b.Add(long, second)
	_, logits := r.forward(t, b, nil)
	_, want := r.forward(t, pack(slices.Concat(context30, short)), nil)
	sameBits(t, "choice of 1 token", rows(logits, b.Segments[one], v), want[30*v:])
	_, want = r.forward(t, pack(slices.Concat(context30, long)), nil)
	sameBits(t, "choice of 6 tokens", rows(logits, b.Segments[other], v), want[30*v:])

	shared := &engine.Batch{}
	root := shared.Add(context30, engine.NoParent)
	shared.Add(short, root)
	shared.Add(long, root)
	x, err := r.e.NewHidden(r.m, shared.Len())
	if err != nil {
		t.Fatal(err)
	}
	defer x.Release()
	if err := r.layers[0].Forward(context.Background(), &engine.Call{Batch: shared}, x, x); err == nil {
		t.Error("a context shared by sequences that rotate it differently was taken")
	}
}
