// Package pyjson reads JSON as Python's json module writes it: with NaN, Infinity
// and -Infinity, which are not JSON and stand in published config files.
//
// What the values mean belongs to whoever reads the file.
package pyjson

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Strict returns text that encoding/json takes and that has every byte of raw at
// its place: the three words become strings of the same length. Raw that holds
// none of them is returned as it is, damaged text unchanged but for them.
func Strict(raw []byte) []byte {
	out := raw
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			i = stringEnd(raw, i)
		case 'N', 'I', '-':
			n := wordAt(raw[i:])
			if n == 0 {
				continue
			}
			if &out[0] == &raw[0] {
				out = bytes.Clone(raw)
			}
			out[i], out[i+n-1] = '"', '"'
			i += n - 1
		}
	}
	return out
}

// Unmarshal is json.Unmarshal of Strict text. A byte order mark is refused by name, as
// by Python.
func Unmarshal(raw []byte, into any) error {
	if bytes.HasPrefix(raw, []byte("\ufeff")) {
		return errors.New("it begins with a byte order mark; save it as UTF-8 without one")
	}
	return json.Unmarshal(Strict(raw), into)
}

// stringEnd returns where the string that begins at i ends.
func stringEnd(raw []byte, i int) int {
	for i++; i < len(raw) && raw[i] != '"'; i++ {
		if raw[i] == '\\' {
			i++
		}
	}
	return i
}

// wordAt returns the length of the word that text begins with, or 0.
func wordAt(text []byte) int {
	for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(text, []byte(word)) {
			return len(word)
		}
	}
	return 0
}
