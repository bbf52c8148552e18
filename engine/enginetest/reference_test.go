package enginetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

// The readable forward pass is itself held to the goldens: what it shows of an
// engine is worth as much as it agrees with PyTorch; and, where the shared material
// lies, with transformers; of slow tests, to checkpoints that nobody has seen before.
func TestReferenceGoldens(t *testing.T) {
	for _, family := range testkit.AllGoldens(t) {
		t.Run(family, func(t *testing.T) { referenceGolden(t, testkit.Golden(t, family)) })
	}
	for _, dir := range testkit.Transformers(t) {
		t.Run("transformers/"+filepath.Base(dir), func(t *testing.T) { referenceTransformers(t, testkit.LoadGoldens(t, dir)) })
	}
	if !testkit.IsSlow() {
		return
	}
	for i, family := range testkit.Families(t) {
		t.Run("fresh/"+family, func(t *testing.T) { referenceGolden(t, testkit.Fresh(t, family, 100+i, "B")) })
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

// referenceTransformers compares with what transformers' own classes gave, whose
// last hidden state is normed.
func referenceTransformers(t *testing.T, g *testkit.Goldens) {
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
}

// TestEveryFamily: what the repository itself has goldens of is every class that
// can be loaded.
func TestEveryFamily(t *testing.T) {
	want := map[string]bool{
		"Gemma3ForConditionalGeneration":  true, // see below
		"BaiChuanForCausalLM":             true, // see below
		"ChatGLMForConditionalGeneration": true, // another name of ChatGLMModel
	}
	for _, name := range testkit.Families(t) {
		want[Open(t, testkit.Golden(t, name).Checkpoint).Spec.Architecture] = true
	}
	if diff := cmp.Diff(model.Architectures(), slices.Sorted(maps.Keys(want))); diff != "" {
		t.Errorf("classes that can be loaded, and those with goldens (-want +got):\n%s", diff)
	}
}

// The text model inside Gemma 3's multimodal wrapper is the text model, under both
// names that its tensors go by.
func TestReferenceWrapped(t *testing.T) {
	g := testkit.Golden(t, "gemma3_text")
	for _, prefix := range []string{"language_model.model.", "model.language_model."} {
		m := Open(t, rewritten(t, g.Checkpoint, func(config, header []byte) ([]byte, []byte) {
			config = fmt.Appendf(nil, `{"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": %s}`, config)
			return config, bytes.ReplaceAll(header, []byte(`"model.`), []byte(`"`+prefix))
		}))
		var logits [][]float32
		for _, ids := range g.Sequences(t, "input_ids") {
			logits = append(logits, reference(t, m, ids, allLayers(m)).logits)
		}
		want, _ := g.Array(t, "logits")
		within(t, "logits of "+prefix, slices.Concat(logits...), want, logitTolerance)
	}
}

// The first Baichuan is the second without the norms of the head's rows.
func TestReferenceFirstBaichuan(t *testing.T) {
	g := testkit.Golden(t, "baichuan")
	m := Open(t, rewritten(t, g.Checkpoint, func(config, header []byte) ([]byte, []byte) {
		return bytes.ReplaceAll(config, []byte("BaichuanForCausalLM"), []byte("BaiChuanForCausalLM")), header
	}))
	var got [][]float32
	for _, ids := range g.Sequences(t, "input_ids") {
		got = append(got, reference(t, m, ids, allLayers(m)).logits)
	}
	head := tensors(t, m, m.Spec.TopWeights())[model.LMHead]
	final, shape := g.Array(t, "final_norm")
	var want []float32
	for row := range slices.Chunk(final, shape[2]) {
		x := make([]float64, len(row))
		for i, v := range row {
			x[i] = float64(v)
		}
		want = appendFloat32(want, linear(x, head, nil))
	}
	within(t, "logits", slices.Concat(got...), want, logitTolerance)
}

// rewritten copies a checkpoint with another config and another header of its tensors.
func rewritten(t *testing.T, dir string, change func(config, header []byte) ([]byte, []byte)) string {
	t.Helper()
	config, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	end := 8 + binary.LittleEndian.Uint64(file)
	config, header := change(config, file[8:end])
	out := t.TempDir()
	for name, content := range map[string][]byte{
		"config.json":       config,
		"model.safetensors": slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header, file[end:]),
	} {
		if err := os.WriteFile(filepath.Join(out, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
