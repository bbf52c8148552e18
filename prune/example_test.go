package prune_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/prune"
)

// The last quarter of the layers goes.
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
	count, err := prune.CountForRatio(m.Spec.Layers, .25)
	if err != nil {
		log.Fatal(err)
	}
	order, protect := []int{3, 2, 1, 0}, []int{0}
	drop, err := prune.Select(order, protect, count)
	if err != nil {
		log.Fatal(err)
	}
	plan, err := prune.New(m.Spec, drop, "reverse")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("keep", prune.FormatLayers(plan.Keep), "and drop", prune.FormatLayers(plan.Drop))
	fmt.Println(plan.Parameters, "of", plan.ParametersBefore, "parameters")

	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := prune.Write(context.Background(), c, m.Spec, plan, filepath.Join(dir, "smaller"), prune.Options{}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// keep 0-2 and drop 3
	// 87120 of 107952 parameters
}
