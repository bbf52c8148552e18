package demo

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMake(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "new", "a"), t.TempDir()
	for _, dir := range []string{a, b} {
		if err := Make(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"config.json", "model.safetensors", "tokenizer.json", TextFile, modelCard} {
		x, err := os.ReadFile(filepath.Join(a, name))
		if err != nil {
			t.Fatal(err)
		}
		y, err := os.ReadFile(filepath.Join(b, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(x, y) {
			t.Errorf("%s differs from one call to the next", name)
		}
		if name == modelCard && !strings.Contains(string(x), Notice) {
			t.Errorf("%s does not say that the model is untrained", name)
		}
	}
}
