package jinja

type slice struct {
	of                expr
	start, stop, step expr
}

func (e *slice) eval(r *run) (any, error) {
	v, err := e.of.eval(r)
	if err != nil {
		return nil, err
	}
	bounds := make([]any, 3)
	for i, part := range []expr{e.start, e.stop, e.step} {
		if part == nil {
			continue
		}
		if bounds[i], err = part.eval(r); err != nil {
			return nil, err
		}
	}
	switch v := v.(type) {
	case string:
		if err := r.make(4 * len(v)); err != nil {
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
	case *list:
		if err := r.make(24 * len(v.items)); err != nil {
			return nil, err
		}
		at, err := indices(bounds, len(v.items))
		if err != nil {
			return nil, err
		}
		out := &list{make([]any, len(at)), v.tuple}
		for i, from := range at {
			out.items[i] = v.items[from]
		}
		return out, nil
	case *undefined:
		return nil, v.err()
	}
	return nil, errorf("'%s' object is not subscriptable by a slice", typeName(v))
}

// indices lists what [start:stop:step] picks of n items, as Python does.
func indices(bounds []any, n int) ([]int, error) {
	var have [3]bool
	var at [3]int
	for i, v := range bounds {
		if v == nil {
			continue
		}
		m, ok := integer(v)
		if !ok {
			return nil, errorf("slice indices must be integers or None")
		}
		have[i], at[i] = true, int(min(max(m, -1<<31), 1<<31))
	}
	step := 1
	if have[2] {
		step = at[2]
	}
	if step == 0 {
		return nil, errorf("slice step cannot be zero")
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
