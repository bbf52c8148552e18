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

// Near keeps of the known words those that word may have been meant for, the most
// similar first: at most one letter in three differs, or letters have changed places.
func Near(word string, known []string) []string {
	bare := func(w string) int { return len(strings.TrimLeft(w, "-")) }
	return slices.DeleteFunc(Sorted(word, known), func(k string) bool {
		few := 3*Distance(word, k) <= max(bare(word), bare(k), 3)
		return bare(word) == 0 || !few && letters(word) != letters(k)
	})
}

// letters are those of a word in order of the alphabet: the same in words in which
// some have changed places.
func letters(word string) string {
	l := []byte(strings.ToLower(word))
	slices.Sort(l)
	return string(l)
}

// Few lists up to n near words, the most similar first: one, unless others are
// as near. It is empty where nothing is near.
func Few(word string, known []string, n int) []string {
	sorted := Near(word, known)
	for i, k := range sorted {
		if i == n || Distance(word, k) > Distance(word, sorted[0])+1 {
			return sorted[:i]
		}
	}
	return sorted
}

// DidYouMean asks whether one of the nearest known words was meant. It is "" where
// nothing is near.
func DidYouMean(word string, known []string) string {
	few := Few(word, known, 3)
	if len(few) == 0 {
		return ""
	}
	return "did you mean " + strings.Join(few, ", ") + "?"
}
