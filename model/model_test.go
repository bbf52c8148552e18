package model_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

func TestOpenReportsEveryTensor(t *testing.T) {
	c, err := checkpoint.Open(testkit.Llama(t, testkit.Options{Layers: 2, AttnBias: true}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := model.Open(c); err != nil {
		t.Fatal(err)
	}

	config := strings.NewReplacer(`"num_hidden_layers": 2`, `"num_hidden_layers": 3`, `"attention_bias": true`, `"attention_bias": false`,
		`"vocab_size": 272`, `"vocab_size": 300`).Replace(string(c.Config()))
	spec, err := model.ParseConfig([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	_, err = model.New(spec, c)
	var report *model.TensorError
	if !errors.As(err, &report) {
		t.Fatalf("error %v is not a *TensorError", err)
	}
	// three layers of nine tensors expected, two there; four biases a layer too many; two matrices of another vocabulary
	if r := report.Report; len(r.Missing) != 9 || len(r.Unused) != 8 || len(r.Misshapen) != 2 {
		t.Errorf("missing %v, unused %v, misshapen %v: want 9, 8 and 2", r.Missing, r.Unused, r.Misshapen)
	}
	for _, part := range []string{"9 missing", "8 unused", "2 misshapen", "lm_head.weight: shape [272 64], want [300 64]"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

func TestOldBuffersAreIgnored(t *testing.T) {
	c, err := checkpoint.Open(testkit.Golden(t, "vicuna").Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	m, err := model.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if r := m.Spec.Check(c.Tensors()); len(r.Ignored) != m.Spec.Layers {
		t.Errorf("ignored %v: want one inv_freq a layer", r.Ignored)
	}
}

// A model whose head is tied may carry the head too: it is not read, and no
// reason to refuse the checkpoint.
func TestTiedHeadOnDisk(t *testing.T) {
	c, err := checkpoint.Open(testkit.Llama(t, testkit.Options{Layers: 1}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	spec, err := model.ParseConfig(bytes.Replace(c.Config(), []byte(`"tie_word_embeddings": false`), []byte(`"tie_word_embeddings": true`), 1))
	if err != nil {
		t.Fatal(err)
	}
	if !spec.Tied {
		t.Fatal("the config is not tied")
	}
	if _, err := model.New(spec, c); err != nil {
		t.Fatal(err)
	}
	if r := spec.Check(c.Tensors()); !slices.Equal(r.Ignored, []string{"lm_head.weight"}) {
		t.Errorf("ignored %v", r.Ignored)
	}
}
