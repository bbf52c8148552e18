package score_test

import (
	"context"
	"fmt"
	"log"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/score"
)

// Two rankings that share one pass through the model.
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
	run := forest.New(m, e, forest.Options{})
	defer run.Close()

	rankings, err := score.Rank(context.Background(), m, run, score.Options{
		Metrics:   []string{score.Reverse, score.BI, score.PPL},
		Sequences: [][]int32{{1, 403, 407, 261, 378, 432, 383, 286, 261, 376}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range rankings {
		fmt.Println(r.Metric, "drops in the order", r.Order)
	}
	// Output:
	// reverse drops in the order [3 2 1 0]
	// bi drops in the order [1 3 2 0]
	// ppl drops in the order [3 1 2 0]
}
