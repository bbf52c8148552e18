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

// Unmarshal is json.Unmarshal of Strict text. What CheckText refuses is refused.
func Unmarshal(raw []byte, into any) error {
	if err := CheckText(raw); err != nil {
		return err
	}
	return json.Unmarshal(Strict(raw), into)
}

// CheckText refuses by name what begins with a byte order mark, as Python does, and
// what is UTF-16: JSON's first character is one of ASCII.
func CheckText(raw []byte) error {
	switch {
	case bytes.HasPrefix(raw, []byte("\ufeff")):
		return errors.New("it begins with a byte order mark; save it as UTF-8 without one")
	case len(raw) > 1 && (raw[0] == 0 || raw[1] == 0 || raw[0] == 0xff && raw[1] == 0xfe || raw[0] == 0xfe && raw[1] == 0xff):
		return errors.New("it is UTF-16; save it as UTF-8")
	}
	return nil
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
