package demo

import (
	"embed"
	"os"
	"path/filepath"
)

// Text is the sample text that ships with the demo, written for it and free to
// copy (CC0).
//
//go:embed text.txt
var Text string

// files are the model's: those of testdata/trained.
//
//go:embed model
var files embed.FS

// Notice is what has to stand beside every number of the demo.
const Notice = "a model of four layers, trained on this text and one story more, which it knows by heart: real models lose less with a layer"

// Names of what Make writes beside the model's own files.
const (
	TextFile  = "sample.txt"
	modelCard = "README.md"
)

const card = `# Coppice's demo model

A Llama of 4 layers and 108,000 parameters: ` + Notice + `.

` + "`sample.txt`" + ` is the text that ` + "`coppice demo`" + ` scores it on. It was written for the
demo and may be used freely (CC0). The tokenizer is that of karpathy/llama2.c (MIT).
`

// Make writes the demo model with its tokenizer, a model card and the sample
// text (TextFile) to dir, which is created if need be. It always writes the
// same bytes.
func Make(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	content := map[string][]byte{TextFile: []byte(Text), modelCard: []byte(card)}
	for _, name := range []string{"config.json", "model.safetensors", "tokenizer.model"} {
		raw, err := files.ReadFile("model/" + name)
		if err != nil {
			return err
		}
		content[name] = raw
	}
	// The text first: by it an unfinished demo is known.
	for _, name := range []string{TextFile, modelCard, "config.json", "tokenizer.model", "model.safetensors"} {
		if err := os.WriteFile(filepath.Join(dir, name), content[name], 0o666); err != nil {
			return err
		}
	}
	return nil
}
