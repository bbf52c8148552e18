// Package bpe learns a byte-level BPE tokenizer from texts and writes it as
// tokenizer.json. Package tokenizer runs what is learnt here; nothing of it is
// needed for learning.
package bpe

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// Learn finds the merges of a byte-level BPE (Sennrich et al. 2016, with GPT-2's
// alphabet): again and again the pair of neighbouring tokens that occurs most is
// joined, of equally frequent ones the first in the order of strings.
func Learn(texts []string, merges int) [][2]string {
	words := count(texts)
	var out [][2]string
	for len(out) < merges {
		best, found := most(words)
		if !found {
			break
		}
		out = append(out, best)
		for i := range words {
			words[i].join(best)
		}
	}
	return out
}

// word is one of the texts' pieces, and how often it comes up.
type word struct {
	tokens []string
	n      int
}

// pieces cuts text as GPT-2's pattern does where nothing but ASCII is in it.
func pieces() *regexp.Regexp {
	return regexp.MustCompile(`'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s`)
}

func count(texts []string) []word {
	cut, counts := pieces(), map[string]int{}
	for _, t := range texts {
		for _, p := range cut.FindAllString(t, -1) {
			counts[p]++
		}
	}
	letters := strings.NewReplacer(" ", "Ġ", "\n", "Ċ")
	var out []word
	for p, n := range counts {
		out = append(out, word{strings.Split(letters.Replace(p), ""), n})
	}
	slices.SortFunc(out, func(a, b word) int { return slices.Compare(a.tokens, b.tokens) })
	return out
}

func most(words []word) (best [2]string, found bool) {
	counts := map[[2]string]int{}
	for _, w := range words {
		for i := 1; i < len(w.tokens); i++ {
			counts[[2]string{w.tokens[i-1], w.tokens[i]}] += w.n
		}
	}
	for pair, n := range counts {
		if d := cmp.Compare(n, counts[best]); !found || d > 0 || d == 0 && slices.Compare(pair[:], best[:]) < 0 {
			best, found = pair, true
		}
	}
	return best, found
}

func (w *word) join(pair [2]string) {
	out := w.tokens[:0]
	for i := 0; i < len(w.tokens); i++ {
		if i+1 < len(w.tokens) && w.tokens[i] == pair[0] && w.tokens[i+1] == pair[1] {
			out = append(out, pair[0]+pair[1])
			i++
			continue
		}
		out = append(out, w.tokens[i])
	}
	w.tokens = out
}
