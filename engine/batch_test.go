package engine

import (
	"strings"
	"testing"
)

func TestBatch(t *testing.T) {
	var b Batch
	root := b.Add([]int32{1, 2, 3}, NoParent)
	other := b.Add([]int32{4}, NoParent)
	child := b.Add([]int32{5, 6}, root)
	leaf := b.Add([]int32{7}, child)
	if err := b.Validate(8); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int32{0, 1, 2, 0, 3, 4, 5} {
		if b.Positions[i] != want {
			t.Errorf("position %d = %d, want %d", i, b.Positions[i], want)
		}
	}
	for segment, want := range map[int]int{root: 0, other: 0, child: 3, leaf: 5} {
		if got := b.Context(segment); got != want {
			t.Errorf("context of segment %d = %d, want %d", segment, got, want)
		}
	}
	b.Reset()
	if err := b.Validate(8); err == nil {
		t.Error("an empty batch was taken")
	}
	b.Continue([]int32{1}, 3, 9)
	if s := b.Segments[0]; s.Slot != 3 || s.Past != 9 || b.Positions[0] != 9 || b.Context(0) != 9 {
		t.Errorf("continued segment %+v at position %d", s, b.Positions[0])
	}
}

func TestBatchValidate(t *testing.T) {
	for name, c := range map[string]struct {
		batch Batch
		want  string
	}{
		"positions":     {Batch{Tokens: []int32{1}, Segments: []Segment{{Len: 1, Parent: NoParent}}}, "0 positions for 1 tokens"},
		"token":         {Batch{Tokens: []int32{9}, Positions: []int32{0}, Segments: []Segment{{Len: 1, Parent: NoParent}}}, "token id 9 at index 0 is outside the vocabulary of 9"},
		"negative":      {Batch{Tokens: []int32{-1}, Positions: []int32{0}, Segments: []Segment{{Len: 1, Parent: NoParent}}}, "token id -1"},
		"position":      {Batch{Tokens: []int32{1}, Positions: []int32{-2}, Segments: []Segment{{Len: 1, Parent: NoParent}}}, "position -2"},
		"gap":           {Batch{Tokens: []int32{1, 2}, Positions: []int32{0, 0}, Segments: []Segment{{Start: 1, Len: 1, Parent: NoParent}}}, "want start 0"},
		"uncovered":     {Batch{Tokens: []int32{1, 2}, Positions: []int32{0, 0}, Segments: []Segment{{Len: 1, Parent: NoParent}}}, "cover 1 of 2"},
		"empty segment": {Batch{Tokens: []int32{1}, Positions: []int32{0}, Segments: []Segment{{Parent: NoParent}}}, "at least one token"},
		"own parent":    {Batch{Tokens: []int32{1}, Positions: []int32{0}, Segments: []Segment{{Len: 1, Parent: 0}}}, "a parent comes before"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.batch.Validate(9); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not say %q", err, c.want)
			}
		})
	}
}
