package data

import (
	"fmt"
	"math"
	"slices"
)

// Labelled is a row of token ids with what should stand at each place.
type Labelled struct {
	Tokens []int32
	Labels []int32 // -100 where nothing is learnt
}

// ReadLabelled reads rows of "input_ids" and "labels", lists of the same length;
// padding, where a row's "attention_mask" is 0 before its tokens or after them, is
// left out. Ids must lie in a vocabulary of size vocab, labels too, or be -100.
func ReadLabelled(path string, vocab int) ([]Labelled, error) {
	var out []Labelled
	for r, err := range Rows(path, RowOptions{}) {
		if err != nil {
			return nil, err
		}
		l, err := labelled(r, vocab)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	if len(out) == 0 {
		return nil, &Error{Path: path, What: "there are no rows", Remedy: `give rows such as {"input_ids": [1, 2], "labels": [-100, 2]}`}
	}
	return out, nil
}

func labelled(r Row, vocab int) (Labelled, error) {
	var l Labelled
	ids, err := integers(r, "input_ids", 0, vocab)
	if err != nil {
		return l, err
	}
	labels, err := integers(r, "labels", -100, vocab)
	if err != nil {
		return l, err
	}
	if len(labels) != len(ids) {
		return l, r.Fail(fmt.Sprintf("labels has %d places, input_ids %d", len(labels), len(ids)), "")
	}
	mask := make([]int32, len(ids))
	for i := range mask {
		mask[i] = 1
	}
	if _, ok := r.Map()["attention_mask"]; ok {
		if mask, err = integers(r, "attention_mask", 0, 2); err != nil {
			return l, err
		}
		if len(mask) != len(ids) {
			return l, r.Fail(fmt.Sprintf("attention_mask has %d places, input_ids %d", len(mask), len(ids)), "")
		}
	}
	first := slices.Index(mask, 1)
	if first < 0 {
		return l, r.Fail("it has no tokens", "")
	}
	end := len(mask)
	for mask[end-1] == 0 {
		end--
	}
	if hole := slices.Index(mask[first:end], 0); hole >= 0 {
		return l, r.Fail(fmt.Sprintf("attention_mask: element %d is 0 between tokens", first+hole), "0 marks padding before or after the tokens")
	}
	return Labelled{ids[first:end], labels[first:end]}, nil
}

// integers reads a column that is a list of integers from low up to below high,
// or -100 where low is.
func integers(r Row, column string, low, high int) ([]int32, error) {
	value, err := r.Value(column)
	if err != nil {
		return nil, err
	}
	list, ok := value.([]any)
	if !ok {
		return nil, r.Fail(column+" is not a list", "")
	}
	out := make([]int32, len(list))
	for i, v := range list {
		n, ok := v.(int64)
		if f, isFloat := v.(float64); isFloat && f == math.Trunc(f) {
			n, ok = int64(f), true
		}
		if !ok {
			return nil, r.Fail(fmt.Sprintf("%s: element %d is no integer", column, i), "")
		}
		if n != int64(low) && (n < 0 || n >= int64(high)) {
			return nil, r.Fail(fmt.Sprintf("%s: element %d is %d, outside the vocabulary of %d", column, i, n, high), "")
		}
		out[i] = int32(n)
	}
	return out, nil
}
