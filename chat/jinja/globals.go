package jinja

import (
	"fmt"
	"math"
)

// globals are the names every template has: Jinja's own and those of transformers.
func (r *run) globals() *scope {
	s := &scope{}
	for name, f := range map[string]func(*run, args) (any, error){
		"range": rangeOf, "dict": dictOf, "namespace": newNamespace, "joiner": newJoiner, "cycler": newCycler,
		"raise_exception": raise, "strftime_now": strftimeNow,
	} {
		s.set(name, &function{name, f})
	}
	return s
}

func rangeOf(r *run, a args) (any, error) {
	v, err := a.bind("range", "start", "stop", "step")
	if err != nil {
		return nil, err
	}
	var n [3]int64
	for i := range v {
		var ok bool
		if n[i], ok = integer(given(v[i], int64(1))); !ok {
			return nil, errorf("'%s' object cannot be interpreted as an integer", typeName(v[i]))
		}
	}
	start, stop, step := n[0], n[1], n[2]
	if v[1] == (absent{}) {
		start, stop = 0, n[0]
	}
	if step == 0 {
		return nil, errorf("range() arg 3 must not be zero")
	}
	count := math.Ceil((float64(stop) - float64(start)) / float64(step))
	if count > float64(r.bytes/32) {
		return nil, r.make(math.MaxInt)
	}
	out := &list{}
	for i := range int(max(count, 0)) {
		out.items = append(out.items, start+int64(i)*step)
	}
	return out, r.make(32 * len(out.items))
}

func dictOf(r *run, a args) (any, error) {
	d := &Dict{}
	if len(a.plain) > 1 {
		return nil, errorf("dict expected at most 1 argument, got %d", len(a.plain))
	}
	if len(a.plain) == 1 {
		if err := r.fill(d, a.plain[0]); err != nil {
			return nil, err
		}
	}
	for _, n := range a.named {
		d.set(n.name, n.value)
	}
	return d, r.make(64 * len(d.keys))
}

// fill copies a mapping, or a list of pairs.
func (r *run) fill(d *Dict, from any) error {
	if src, ok := from.(*Dict); ok {
		for i, key := range src.keys {
			d.set(key, src.values[i])
		}
		return nil
	}
	items, err := r.iterate(from)
	if err != nil {
		return err
	}
	for _, item := range items {
		pair, ok := item.(*list)
		if !ok || len(pair.items) != 2 {
			return errorf("dict() wants pairs")
		}
		if _, ok := pair.items[0].(string); !ok {
			return errorf("a key of type '%s'", typeName(pair.items[0]))
		}
		d.set(pair.items[0], pair.items[1])
	}
	return nil
}

func newNamespace(r *run, a args) (any, error) {
	v, err := dictOf(r, a)
	if err != nil {
		return nil, err
	}
	ns := &namespace{vars: make(map[string]any)}
	d := v.(*Dict)
	for i, key := range d.keys {
		if name, ok := key.(string); ok {
			ns.vars[name] = d.values[i]
		}
	}
	return ns, nil
}

func newJoiner(_ *run, a args) (any, error) {
	v, err := a.bind("joiner", "sep")
	used := false
	return &function{"joiner", func(*run, args) (any, error) {
		if !used {
			used = true
			return "", nil
		}
		return given(v[0], ", "), nil
	}}, err
}

// newCycler is an object with next(), reset() and current.
func newCycler(_ *run, a args) (any, error) {
	if len(a.plain) == 0 {
		return nil, errorf("at least one item has to be provided")
	}
	ns := &namespace{vars: map[string]any{"current": a.plain[0]}}
	at := 0
	ns.vars["next"] = &function{"next", func(*run, args) (any, error) {
		v := a.plain[at]
		at = (at + 1) % len(a.plain)
		ns.vars["current"] = a.plain[at]
		return v, nil
	}}
	ns.vars["reset"] = &function{"reset", func(*run, args) (any, error) {
		at, ns.vars["current"] = 0, a.plain[0]
		return nil, nil
	}}
	return ns, nil
}

func raise(r *run, a args) (any, error) {
	v, err := a.bind("raise_exception", "message")
	if err != nil {
		return nil, err
	}
	text, err := r.str(given(v[0], ""))
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %s", ErrRaised, text)
}

func strftimeNow(r *run, a args) (any, error) {
	v, err := a.texts("strftime_now", "", "format")
	if err != nil {
		return nil, err
	}
	text, err := strftime(r.now(), v[0])
	if err != nil {
		return nil, err
	}
	return text, r.make(len(text))
}
