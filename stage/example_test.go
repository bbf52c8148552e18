package stage_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

// What `coppice score ../testdata/trained --metric reverse,bi
// --data ../docs/story.txt --length 64 --samples 2` does, in a program.
func Example() {
	s := stage.DefaultScore()
	s.Model, s.Metrics = "../testdata/trained", []string{"reverse", "bi"}
	s.Source, s.Length, s.Samples = "../docs/story.txt", 64, 2
	env := stage.Env{Getenv: os.Getenv, Talk: stage.Silent{}}
	if err := s.Check(); err != nil {
		log.Fatal(err)
	}
	lines, err := s.Run(context.Background(), env)
	if err != nil {
		log.Fatal(err)
	}
	for _, line := range lines {
		if r, ok := line.(report.Ranking); ok {
			fmt.Println(r.Metric, r.Order)
		}
	}
	// Output:
	// reverse [3 2 1 0]
	// bi [3 1 2 0]
}
