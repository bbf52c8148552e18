package generate

import "fmt"

// Repetition is the share of the runs of n tokens of a text that it had before: one
// less the distinct of them over all (Welleck et al. 2020, seq-rep-n). 0 where there
// are fewer than n tokens.
func Repetition(tokens []int32, n int) float64 {
	all := len(tokens) - n + 1
	if all < 1 {
		return 0
	}
	distinct := map[string]bool{}
	for i := range all {
		distinct[fmt.Sprint(tokens[i:i+n])] = true
	}
	return float64(all-len(distinct)) / float64(all)
}
