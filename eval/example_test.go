package eval_test

import (
	"context"
	"fmt"
	"log"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/eval"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/tokenizer"
)

// A built-in task with documents of one's own.
func Example() {
	library, err := eval.Builtin()
	if err != nil {
		log.Fatal(err)
	}
	task, _ := library.Task("arc_easy")
	docs, err := eval.Dir("testdata/made").Docs(task, task.Split())
	if err != nil {
		log.Fatal(err)
	}
	asked, err := eval.Build(task, docs, nil, eval.BuildOptions{})
	if err != nil {
		log.Fatal(err)
	}
	r := asked.Requests[0]
	fmt.Printf("%d requests, the first: %q, then %q\n", len(asked.Requests), r.Context, r.Continuation)

	run, encoder := open("../testdata/trained")
	defer run.Close()
	responses, err := eval.ScoreAll(context.Background(), run, [][]int{nil}, []*eval.Asked{asked}, encoder, 512, nil)
	if err != nil {
		log.Fatal(err)
	}
	metrics, err := asked.Score(responses[0][0], 0)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range metrics {
		fmt.Printf("%s %.2f ± %.2f\n", m.Name, m.Result, m.StdErr)
	}
	// Output:
	// 15 requests, the first: "Question: Which part of a tree takes up water?\nAnswer:", then " the roots"
	// acc 0.25 ± 0.25
	// acc_norm 0.25 ± 0.25
}

func open(dir string) (*forest.Runner, *eval.Encoder) {
	c, err := checkpoint.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	m, err := model.Open(c)
	if err != nil {
		log.Fatal(err)
	}
	e, err := cpu.New(cpu.Options{DType: "float32"})
	if err != nil {
		log.Fatal(err)
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		log.Fatal(err)
	}
	return forest.New(m, e, forest.Options{}), &eval.Encoder{Tokenizer: tok, MaxLength: m.Spec.MaxPositions, Vocab: m.Spec.Vocab}
}
