package builtin

import (
	"fmt"
	"math"

	"github.com/coppice-ml/coppice/chat/jinja/py"
)

// Globals are the names every template has: Jinja's own and those of transformers.
func Globals() map[string]*py.Function {
	all := make(map[string]*py.Function)
	for name, f := range map[string]func(*py.Env, py.Args) (any, error){
		"range": rangeOf, "dict": dictOf, "namespace": newNamespace, "joiner": newJoiner, "cycler": newCycler,
		"raise_exception": raise, "strftime_now": strftimeNow,
	} {
		all[name] = &py.Function{Name: name, Call: f}
	}
	return all
}

func rangeOf(r *py.Env, a py.Args) (any, error) {
	v, err := a.Bind("range", "start", "stop", "step")
	if err != nil {
		return nil, err
	}
	var n [3]int64
	for i := range v {
		var ok bool
		if n[i], ok = py.Integer(py.Given(v[i], int64(1))); !ok {
			return nil, fmt.Errorf("'%s' object cannot be interpreted as an integer", py.TypeName(v[i]))
		}
	}
	start, stop, step := n[0], n[1], n[2]
	if v[1] == (py.Absent{}) {
		start, stop = 0, n[0]
	}
	if step == 0 {
		return nil, fmt.Errorf("range() arg 3 must not be zero")
	}
	count := math.Ceil((float64(stop) - float64(start)) / float64(step))
	if count > float64(r.Bytes/32) {
		return nil, r.Make(math.MaxInt)
	}
	out := &py.List{}
	for i := range int(max(count, 0)) {
		out.Items = append(out.Items, start+int64(i)*step)
	}
	return out, r.Make(32 * len(out.Items))
}

func dictOf(r *py.Env, a py.Args) (any, error) {
	d := &py.Dict{}
	if len(a.Plain) > 1 {
		return nil, fmt.Errorf("dict expected at most 1 argument, got %d", len(a.Plain))
	}
	if len(a.Plain) == 1 {
		if err := fill(r, d, a.Plain[0]); err != nil {
			return nil, err
		}
	}
	for _, n := range a.Named {
		d.Put(n.Name, n.Value)
	}
	return d, r.Make(64 * len(d.Keys))
}

// fill copies a mapping, or a list of pairs.
func fill(r *py.Env, d *py.Dict, from any) error {
	if src, ok := from.(*py.Dict); ok {
		for i, key := range src.Keys {
			d.Put(key, src.Values[i])
		}
		return nil
	}
	items, err := r.Iterate(from)
	if err != nil {
		return err
	}
	for _, item := range items {
		pair, ok := item.(*py.List)
		if !ok || len(pair.Items) != 2 {
			return fmt.Errorf("dict() wants pairs")
		}
		if _, ok := pair.Items[0].(string); !ok {
			return fmt.Errorf("a key of type '%s'", py.TypeName(pair.Items[0]))
		}
		d.Put(pair.Items[0], pair.Items[1])
	}
	return nil
}

func newNamespace(r *py.Env, a py.Args) (any, error) {
	v, err := dictOf(r, a)
	if err != nil {
		return nil, err
	}
	ns := &py.Namespace{Vars: make(map[string]any)}
	d := v.(*py.Dict)
	for i, key := range d.Keys {
		if name, ok := key.(string); ok {
			ns.Vars[name] = d.Values[i]
		}
	}
	return ns, nil
}

func newJoiner(_ *py.Env, a py.Args) (any, error) {
	v, err := a.Bind("joiner", "sep")
	used := false
	return &py.Function{Name: "joiner", Call: func(*py.Env, py.Args) (any, error) {
		if !used {
			used = true
			return "", nil
		}
		return py.Given(v[0], ", "), nil
	}}, err
}

// newCycler is an object with next(), reset() and current.
func newCycler(_ *py.Env, a py.Args) (any, error) {
	if len(a.Plain) == 0 {
		return nil, fmt.Errorf("at least one item has to be provided")
	}
	ns := &py.Namespace{Vars: map[string]any{"current": a.Plain[0]}}
	at := 0
	ns.Vars["next"] = &py.Function{Name: "next", Call: func(*py.Env, py.Args) (any, error) {
		v := a.Plain[at]
		at = (at + 1) % len(a.Plain)
		ns.Vars["current"] = a.Plain[at]
		return v, nil
	}}
	ns.Vars["reset"] = &py.Function{Name: "reset", Call: func(*py.Env, py.Args) (any, error) {
		at, ns.Vars["current"] = 0, a.Plain[0]
		return nil, nil
	}}
	return ns, nil
}

func raise(r *py.Env, a py.Args) (any, error) {
	v, err := a.Bind("raise_exception", "message")
	if err != nil {
		return nil, err
	}
	text, err := r.Str(py.Given(v[0], ""))
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %s", py.ErrRaised, text)
}

func strftimeNow(r *py.Env, a py.Args) (any, error) {
	v, err := texts(a, "strftime_now", "", "format")
	if err != nil {
		return nil, err
	}
	text, err := strftime(r.Now(), v[0])
	if err != nil {
		return nil, err
	}
	return text, r.Make(len(text))
}
