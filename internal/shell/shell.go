// Package shell writes commands that somebody copies into a POSIX shell.
//
// Running commands belongs to nobody here.
package shell

import "strings"

// safe are the characters that mean themselves to every shell, wherever they stand.
const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./@:+,=%"

// Quote writes a word as a shell reads it back, in quotes only where it needs them.
func Quote(word string) string {
	if word != "" && strings.Trim(word, safe) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Command writes words as one line.
func Command(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Quote(w)
	}
	return strings.Join(quoted, " ")
}
