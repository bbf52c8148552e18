package enginetest

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/internal/testkit"
)

// The readable forward pass is itself held to the goldens: what it shows of an
// engine is worth as much as it agrees with PyTorch.
func TestReferenceGoldens(t *testing.T) {
	for _, family := range testkit.AllGoldens(t) {
		t.Run(family, func(t *testing.T) { referenceGolden(t, testkit.Golden(t, family)) })
	}
}

// Checkpoints that nobody has seen before, of other sizes.
func TestReferenceFresh(t *testing.T) {
	testkit.Slow(t)
	for i, family := range testkit.Families(t) {
		t.Run(family, func(t *testing.T) { referenceGolden(t, testkit.Fresh(t, family, 100+i, "B")) })
	}
}

func referenceGolden(t *testing.T, g *testkit.Goldens) {
	m := Open(t, g.Checkpoint)
	var all []trace
	var pruned [][]float32
	for _, ids := range g.Sequences(t, "input_ids") {
		all = append(all, reference(t, m, ids, allLayers(m)))
		pruned = append(pruned, reference(t, m, ids, slices.DeleteFunc(allLayers(m), func(l int) bool { return l == 1 || l == 3 })).logits)
	}
	want, _ := g.Array(t, "hidden")
	n := len(want) / (m.Spec.Layers + 1)
	for i := range m.Spec.Layers + 1 {
		within(t, fmt.Sprintf("hidden %d", i), slices.Concat(all[0].hidden[i], all[1].hidden[i]), want[i*n:(i+1)*n], logitTolerance)
	}
	want, _ = g.Array(t, "final_norm")
	within(t, "final norm", slices.Concat(all[0].final, all[1].final), want, logitTolerance)
	want, _ = g.Array(t, "logits")
	within(t, "logits", slices.Concat(all[0].logits, all[1].logits), want, logitTolerance)
	within(t, "logits without layers 1 and 3", slices.Concat(pruned...), prunedLogits(t, g), logitTolerance)
}

// So it is to what transformers wrote, which lies beside the repository.
func TestReferenceTransformers(t *testing.T) {
	dirs := testkit.Transformers(t)
	if len(dirs) == 0 {
		testkit.Shared(t, "oracle", "transformers517")
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			g := testkit.LoadGoldens(t, dir)
			m := Open(t, g.Checkpoint)
			var all []trace
			var pruned [][]float32
			for _, ids := range g.Sequences(t, "input_ids") {
				all = append(all, reference(t, m, ids, allLayers(m)))
				pruned = append(pruned, reference(t, m, ids, []int{0, 2, 4, 5}).logits)
			}
			want, _ := g.Array(t, "hidden")
			n := len(want) / (m.Spec.Layers + 1)
			for i := range m.Spec.Layers {
				within(t, fmt.Sprintf("hidden %d", i), slices.Concat(all[0].hidden[i], all[1].hidden[i]), want[i*n:(i+1)*n], logitTolerance)
			}
			within(t, "final norm", slices.Concat(all[0].final, all[1].final), want[m.Spec.Layers*n:], logitTolerance)
			want, _ = g.Array(t, "logits")
			within(t, "logits", slices.Concat(all[0].logits, all[1].logits), want, looseLogits)
			want, _ = g.Array(t, "pruned_1_3.logits")
			within(t, "logits without layers 1 and 3", slices.Concat(pruned...), want, looseLogits)
		})
	}
}
