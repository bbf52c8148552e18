package py

import "fmt"

// Slice is v[start:stop:step]; bounds are nil where they are left out.
func (r *Env) Slice(v any, bounds []any) (any, error) {
	switch v := v.(type) {
	case string:
		if err := r.Make(4 * len(v)); err != nil {
			return nil, err
		}
		runes := []rune(v)
		at, err := indices(bounds, len(runes))
		if err != nil {
			return nil, err
		}
		out := make([]rune, len(at))
		for i, from := range at {
			out[i] = runes[from]
		}
		return string(out), nil
	case *List:
		if err := r.Make(24 * len(v.Items)); err != nil {
			return nil, err
		}
		at, err := indices(bounds, len(v.Items))
		if err != nil {
			return nil, err
		}
		out := &List{make([]any, len(at)), v.Tuple}
		for i, from := range at {
			out.Items[i] = v.Items[from]
		}
		return out, nil
	case *Undefined:
		return nil, v.Err()
	}
	return nil, fmt.Errorf("'%s' object is not subscriptable by a slice", TypeName(v))
}

// indices lists what [start:stop:step] picks of n items, as Python does.
func indices(bounds []any, n int) ([]int, error) {
	var have [3]bool
	var at [3]int
	for i, v := range bounds {
		if v == nil {
			continue
		}
		m, ok := Integer(v)
		if !ok {
			return nil, fmt.Errorf("slice indices must be integers or None")
		}
		have[i], at[i] = true, int(min(max(m, -1<<31), 1<<31))
	}
	step := 1
	if have[2] {
		step = at[2]
	}
	if step == 0 {
		return nil, fmt.Errorf("slice step cannot be zero")
	}
	low, high := 0, n
	if step < 0 {
		low, high = -1, n-1
	}
	bound := func(i, fallback int) int {
		if !have[i] {
			return fallback
		}
		if at[i] < 0 {
			at[i] += n
		}
		return min(max(at[i], low), high)
	}
	start, stop := bound(0, low), bound(1, high)
	if step < 0 {
		start, stop = bound(0, high), bound(1, low)
	}
	var out []int
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		out = append(out, i)
	}
	return out, nil
}
