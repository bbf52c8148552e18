package forest_test

import (
	"context"
	"fmt"
	"log"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/model"
)

// The loss of a sequence with the whole model, and without layer 2: a pruning
// that is never written.
func Example() {
	c, err := checkpoint.Open("../testdata/trained")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	m, err := model.Open(c)
	if err != nil {
		log.Fatal(err)
	}
	e, err := cpu.New(cpu.Options{DType: "float32"})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	run := forest.New(m, e, forest.Options{Memory: 1 << 30})
	defer run.Close()

	onceUponATime := [][]int32{{1, 403, 407, 261, 378, 432, 383, 286, 261, 376}}
	for _, layers := range [][]int{nil, {0, 1, 3}} {
		err := run.LogProbs(context.Background(), layers, onceUponATime, func(_ int, scores []engine.TokenScore) error {
			loss := 0.0
			for _, s := range scores {
				loss -= s.LogProb / float64(len(scores))
			}
			fmt.Printf("layers %v: %.1f\n", layers, loss)
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// layers []: 0.0
	// layers [0 1 3]: 4.5
}
