package report

import (
	"fmt"
	"math"
	"reflect"
	"strings"
)

// GGUF describes a GGUF file.
type GGUF struct {
	Type         string `json:"type"`
	Path         string `json:"path"`
	Version      int    `json:"version"`
	Architecture string `json:"architecture"`
	Parameters   int64  `json:"parameters"`
	Bytes        int64  `json:"bytes"`
}

// Typed implements Line.
func (l GGUF) Typed() any { l.Type = "gguf"; return l }

// GGUFKey is a key of a GGUF file with its value, a list as a whole.
type GGUFKey struct {
	Type  string `json:"type"`
	Key   string `json:"key"`
	Value any    `json:"value"`
}

// Typed implements Line. Numbers that JSON has no form for become null.
func (l GGUFKey) Typed() any {
	l.Type = "key"
	if v := reflect.ValueOf(l.Value); v.Kind() == reflect.Slice {
		all := make([]any, v.Len())
		for i := range all {
			all[i] = finite(v.Index(i).Interface())
		}
		l.Value = all
	} else {
		l.Value = finite(l.Value)
	}
	return l
}

func finite(v any) any {
	f := 0.0
	switch v := v.(type) {
	case float32:
		f = float64(v)
	case float64:
		f = v
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return v
}

// Abridged writes the value in a line: of a list how many there are, and the first.
func (l GGUFKey) Abridged() string {
	v := reflect.ValueOf(l.Value)
	if v.Kind() != reflect.Slice {
		return clip(fmt.Sprint(l.Value))
	}
	var first []string
	for i := range min(v.Len(), 8) {
		first = append(first, fmt.Sprintf("%v", v.Index(i).Interface()))
	}
	return clip(fmt.Sprintf("%d: %s", v.Len(), strings.Join(first, " ")))
}

// clip makes a text one short line.
func clip(s string) string {
	const most = 72
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\ufffd")), " ")
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most-1]) + "…"
	}
	return s
}

// GGUFTensor is a tensor of a GGUF file. Shape is row major, as in a checkpoint.
type GGUFTensor struct {
	Type   string  `json:"type"`
	Name   string  `json:"name"`
	DType  string  `json:"dtype"`
	Shape  []int64 `json:"shape"`
	Bytes  int64   `json:"bytes"`
	Offset int64   `json:"offset"`
}

// Typed implements Line.
func (l GGUFTensor) Typed() any { l.Type = "tensor"; return l }
