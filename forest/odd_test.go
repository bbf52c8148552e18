package forest_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// TestOddRows: whatever multiple of rows a provider's products come in, batches,
// memory and the number of workers change no bit, and the results are right.
func TestOddRows(t *testing.T) {
	m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 4}))
	right := scores(t, newRunner(t, m, newEngine(t), forest.Options{}), []int{0, 1, 3})
	for i, q := range []int{2, 6, 8, 12, 16, 24} {
		t.Run(fmt.Sprint(q), func(t *testing.T) {
			for _, dtype := range []string{"float32", "bfloat16"} {
				var want [][]float64
				for _, threads := range []int{1, 2 + i} {
					e, err := cpu.New(cpu.Options{DType: dtype, Threads: threads, Provider: cpu.OddRows(q, q)})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = e.Close() })
					for _, opt := range []forest.Options{{}, {BatchTokens: 1}, {BatchTokens: 70}, {BatchTokens: 1 << 20}, {Memory: 1, BatchTokens: 50}} {
						var got [][]float64
						for s, scores := range scores(t, newRunner(t, m, e, opt), []int{0, 1, 3}) {
							got = append(got, nil)
							for j, score := range scores {
								got[s] = append(got[s], score.LogProb)
								if d := math.Abs(score.LogProb - right[s][j].LogProb); dtype == "float32" && !(d <= 5e-5) {
									t.Fatalf("%+v: log-probability %d of sequence %d is off by %g", opt, j, s, d)
								}
							}
						}
						if want == nil {
							want = got
						} else if fmt.Sprint(got) != fmt.Sprint(want) {
							t.Errorf("%s, %d threads, %+v: results differ", dtype, threads, opt)
						}
					}
				}
			}
		})
	}
}
