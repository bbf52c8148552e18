package checkpoint_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/coppice-ml/coppice/checkpoint"
)

// A copy without the tensors of layer 3, all others byte for byte.
func Example() {
	c, err := checkpoint.Open("../testdata/trained")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	w, err := checkpoint.Write(context.Background(), c, filepath.Join(dir, "smaller"), checkpoint.Surgery{
		Rename: func(name string) (string, bool) { return name, !strings.HasPrefix(name, "model.layers.3.") },
		Config: []byte(`{"num_hidden_layers": 3}`),
	}, checkpoint.WriteOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(w.Tensors, "of", len(c.Tensors()), "tensors")
	// Output:
	// 29 of 38 tensors
}
