package demo

import (
	_ "embed"
	"os"
	"path/filepath"

	"github.com/coppice-ml/coppice/internal/synth"
)

// Text is the sample text that ships with the demo, written for it and free to
// copy (CC0).
//
//go:embed text.txt
var Text string

// Notice is what has to stand beside every number of the demo.
const Notice = "untrained, seeded weights: the numbers show the mechanics, not quality"

// Names of what Make writes beside the model's own files.
const (
	TextFile  = "sample.txt"
	modelCard = "README.md"
)

const card = `# Coppice's demo model

A Llama of 8 layers with ` + Notice + `.

` + "`sample.txt`" + ` is the text that ` + "`coppice demo`" + ` scores it on. It was written for the
demo and may be used freely (CC0).
`

// Make writes the demo model with its tokenizer, a model card and the sample
// text (TextFile) to dir, which is created if need be. It always writes the
// same bytes.
func Make(dir string) error {
	if err := synth.WriteLlama(dir, Options()); err != nil {
		return err
	}
	for name, content := range map[string]string{TextFile: Text, modelCard: card} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// Options describe the demo model.
func Options() synth.Options {
	return synth.Options{
		Layers: 8, Hidden: 128, Heads: 8, KVHeads: 4, FF: 344,
		MaxPositions: 2048, Tokenizer: true, Seed: 42,
	}
}
