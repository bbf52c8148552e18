package jinja

import (
	"errors"
	"fmt"

	"github.com/coppice-ml/coppice/chat/jinja/py"
	"github.com/coppice-ml/coppice/chat/jinja/syntax"
)

// loopState is the variable loop of a body.
type loopState struct {
	of    *syntax.Loop
	items []any
	at    int
	depth int
	scope *scope // around the loop, for recursion
	last  []any  // of changed
}

func (r *run) execLoop(s *syntax.Loop) error {
	v, err := r.eval(s.Over)
	if err != nil {
		return at(s.Line, err)
	}
	return at(s.Line, r.loop(s, v, r.scope, 0))
}

func (r *run) loop(s *syntax.Loop, over any, around *scope, depth int) error {
	items, err := r.Iterate(over)
	if err != nil {
		return err
	}
	if s.Test != nil {
		if items, err = r.chosen(s, items); err != nil {
			return err
		}
	}
	if len(items) == 0 {
		return r.exec(s.Otherwise)
	}
	state := &loopState{of: s, items: items, depth: depth, scope: around}
	for state.at = range items {
		err := r.inside(around, func() error {
			if err := r.assign(s.Targets, items[state.at]); err != nil {
				return err
			}
			r.scope.set("loop", state)
			return r.exec(s.Body)
		})
		switch {
		case errors.Is(err, errBreak):
			return nil
		case err != nil && !errors.Is(err, errContinue):
			return err
		}
		if err := r.Step(1); err != nil {
			return err
		}
	}
	return nil
}

// chosen are the items that pass the loop's own `if`, which loop.length counts.
func (r *run) chosen(s *syntax.Loop, items []any) ([]any, error) {
	var all []any
	for _, item := range items {
		var v any
		err := r.inside(r.scope, func() (err error) {
			if err = r.assign(s.Targets, item); err == nil {
				v, err = r.eval(s.Test)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if py.Truth(v) {
			all = append(all, item)
		}
	}
	return all, nil
}

// attribute is loop.NAME.
func (l *loopState) Attribute(name string) (any, bool) {
	n := len(l.items)
	switch name {
	case "index":
		return int64(l.at + 1), true
	case "index0":
		return int64(l.at), true
	case "revindex":
		return int64(n - l.at), true
	case "revindex0":
		return int64(n - l.at - 1), true
	case "first":
		return l.at == 0, true
	case "last":
		return l.at == n-1, true
	case "length":
		return int64(n), true
	case "depth":
		return int64(l.depth + 1), true
	case "depth0":
		return int64(l.depth), true
	case "previtem":
		if l.at == 0 {
			return &py.Undefined{Hint: "there is no previous item"}, true
		}
		return l.items[l.at-1], true
	case "nextitem":
		if l.at == n-1 {
			return &py.Undefined{Hint: "there is no next item"}, true
		}
		return l.items[l.at+1], true
	case "cycle":
		return &py.Function{Name: "cycle", Call: l.cycle}, true
	case "changed":
		return &py.Function{Name: "changed", Call: l.changed}, true
	}
	return nil, false
}

func (l *loopState) cycle(_ *py.Env, a py.Args) (any, error) {
	if len(a.Plain) == 0 {
		return nil, fmt.Errorf("no items for cycling given")
	}
	return a.Plain[l.at%len(a.Plain)], nil
}

func (l *loopState) changed(r *py.Env, a py.Args) (any, error) {
	same := l.last != nil && len(l.last) == len(a.Plain)
	for i := 0; same && i < len(a.Plain); i++ {
		var err error
		if same, err = r.Equal(l.last[i], a.Plain[i]); err != nil {
			return nil, err
		}
	}
	l.last = a.Plain
	return !same, nil
}

// again is loop(items) in a recursive loop.
func (r *run) again(l *loopState, a py.Args) (any, error) {
	if !l.of.Recursive || len(a.Plain) != 1 {
		return nil, fmt.Errorf("only a recursive loop can be called, with what to loop over")
	}
	if err := r.Enter(); err != nil {
		return nil, err
	}
	defer r.Leave()
	return r.captured(func() error { return r.loop(l.of, a.Plain[0], l.scope, l.depth+1) })
}
