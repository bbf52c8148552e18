package score

import (
	"context"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// counted makes a metric of the table count how often its probe is made.
func counted[P probe](name string, made *int, make func(*Priced) (P, error), source func(make func(*Priced) (P, error)) source) Metric {
	m, err := Lookup(name)
	if err != nil {
		panic(err)
	}
	m.from = source(func(p *Priced) (P, error) {
		*made++
		return make(p)
	})
	return m
}

// TestOnce: one call makes its work and each probe once, from its price to its
// rankings, and takes one pass; metrics of one probe share it.
func TestOnce(t *testing.T) {
	m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 4}))
	e, err := cpu.New(cpu.Options{DType: "float32"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	run := forest.New(m, e, forest.Options{})
	t.Cleanup(run.Close)
	var influences, ckas int
	metrics := []Metric{
		counted(BI, &influences, newInfluence, func(make func(*Priced) (*influence, error)) source { return observed(make, (*influence).bi) }),
		counted(Relative, &influences, newInfluence, func(make func(*Priced) (*influence, error)) source { return observed(make, (*influence).relative) }),
		counted(CKA, &ckas, newCKA, func(make func(*Priced) (*cka, error)) source {
			return compared(make, ckaSettings, (*cka).matrix, readNeighbours)
		}),
	}
	opt := Options{Sequences: [][]int32{{1, 2, 3, 4}, {5, 6, 7}}}
	p, err := price(m, run, opt, metrics)
	if err != nil {
		t.Fatal(err)
	}
	costs, work := p.Costs(), &p.measure.work[0]
	var tokenLayers int64
	got, err := p.Run(context.Background(), forest.RunOptions{Progress: func(done, total int64) { tokenLayers = done }})
	if err != nil {
		t.Fatal(err)
	}
	if influences != 1 || ckas != 1 || &p.measure.work[0] != work {
		t.Errorf("%d and %d probes were made, want one each; or work was made anew", influences, ckas)
	}
	if len(costs) != 1 || costs[0].Forest.Passes != 1 || costs[0].Forest.TokenLayers != 4*7 || tokenLayers != 4*7 {
		t.Errorf("%+v announced, %d token-layers run; want one pass of %d", costs, tokenLayers, 4*7)
	}
	opt.Metrics = []string{BI, Relative, CKA}
	want, err := Rank(context.Background(), m, run, opt)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if !slices.Equal(got[i].Scores, want[i].Scores) {
			t.Errorf("%s: %v, want %v", want[i].Metric, got[i].Scores, want[i].Scores)
		}
	}
}

// halves scores a layer by its index's half: a metric is a file and a line.
func halves(p *Priced) func(int) float64 {
	return func(layer int) float64 { return float64(layer / 2) }
}

func TestAMetricIsALine(t *testing.T) {
	m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 4}))
	p, err := price(m, nil, Options{}, []Metric{{Name: "halves", Direction: Highest, from: placed(halves)}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Run(context.Background(), forest.RunOptions{})
	if err != nil || !slices.Equal(got[0].Order, []int{3, 2, 1, 0}) || !slices.Equal(got[0].Scores, []float64{0, 0, 1, 1}) {
		t.Errorf("%+v, %v", got, err)
	}
}
