package score_test

import (
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/score"
)

// Taylor takes more tokens than one call of the engine does, and scores every layer twice
// as high by twice the texts.
func TestTaylorOfManyTokens(t *testing.T) {
	m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 3}))
	var seqs [][]int32
	for i := range 30 {
		seqs = append(seqs, slices.Repeat([]int32{int32(i), int32(i*i+1) % 31}, 25))
	}
	run := forest.New(m, newEngine(t, cpu.Options{DType: "float32"}), forest.Options{})
	defer run.Close()
	opt := score.Options{Metrics: []string{score.Taylor}, Sequences: seqs}
	once := rank(t, m, run, opt)
	opt.Sequences = slices.Concat(seqs, seqs)
	twice := rank(t, m, run, opt)
	for l := range once[0].Scores {
		once[0].Scores[l] *= 2
	}
	near(t, "taylor", twice[0].Scores, once[0].Scores)
}
