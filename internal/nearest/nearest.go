// Package nearest finds the known words most like one that is not known, for
// "did you mean".
//
// What the words are (commands, flags, metrics, keys of a file) and how they are
// shown is not its business.
package nearest

import (
	"cmp"
	"slices"
	"strings"
)

// Sorted returns the known words, the most similar first; equally similar ones
// keep their order. Letter case does not count.
func Sorted(word string, known []string) []string {
	out := slices.Clone(known)
	slices.SortStableFunc(out, func(a, b string) int { return cmp.Compare(Distance(word, a), Distance(word, b)) })
	return out
}

// Distance is the Levenshtein distance in bytes of the lower-cased words, where
// a common beginning counts as near: 0 when b starts with a.
func Distance(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if a != "" && strings.HasPrefix(b, a) {
		return 0
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Few lists up to n known words, the most similar first: one, unless others are
// as near.
func Few(word string, known []string, n int) []string {
	sorted := Sorted(word, known)
	for i, k := range sorted {
		if i == n || Distance(word, k) > Distance(word, sorted[0])+1 {
			return sorted[:i]
		}
	}
	return sorted
}

// DidYouMean asks whether one of the nearest known words was meant.
func DidYouMean(word string, known []string) string {
	return "did you mean " + strings.Join(Few(word, known, 3), ", ") + "?"
}
