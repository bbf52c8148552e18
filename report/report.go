// Package report holds what commands print: one struct for every JSON line of
// the command-line contract, and the tables people read instead.
//
// Here belong result structs, their JSON form and their text form. How a result
// is computed, where it is written, and whether it is JSON or text that is
// wanted do not. The package imports the standard library and how lists of layers
// are written, so that anything that reads run directories can use it without an
// engine.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
)

// Schema is the version of the JSON lines. Within a version fields and types
// of lines may be added; none is renamed, removed or given another meaning.
const Schema = 1

// Line is one JSON line: an object with a "type".
type Line interface {
	// Typed returns the line with its type field set.
	Typed() any
}

// Write writes the line to w, followed by a newline, in one call of Write.
func Write(w io.Writer, l Line) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(l.Typed()); err != nil {
		return fmt.Errorf("encode %T: %w", l, err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Number is a float64 that JSON can always carry: what is not a finite number
// is written as null, and null is read as NaN.
type Number float64

// MarshalJSON writes the shortest form that reads back as the same float64.
func (n Number) MarshalJSON() ([]byte, error) {
	if !n.Finite() {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON reads a number or null.
func (n *Number) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(raw, (*float64)(n))
}

// Finite reports whether n is neither infinite nor NaN.
func (n Number) Finite() bool { return !math.IsNaN(float64(n)) && !math.IsInf(float64(n), 0) }

// String is for people: six significant digits.
func (n Number) String() string {
	if math.IsNaN(float64(n)) {
		return "-"
	}
	return strconv.FormatFloat(float64(n), 'g', 6, 64)
}

// Floats converts a slice back.
func Floats(values []Number) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = float64(v)
	}
	return out
}

// Numbers converts a slice; the result is never nil, so that JSON has a list.
func Numbers(values []float64) []Number {
	out := make([]Number, len(values))
	for i, v := range values {
		out[i] = Number(v)
	}
	return out
}
