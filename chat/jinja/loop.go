package jinja

import "errors"

type loop struct {
	line      int
	targets   []string
	over      expr
	test      expr // nil: every item
	body      []statement
	otherwise []statement
	recursive bool
}

// loopState is the variable loop of a body.
type loopState struct {
	of    *loop
	items []any
	at    int
	depth int
	scope *scope // around the loop, for recursion
	last  []any  // of changed
}

func (s *loop) exec(r *run) error {
	v, err := s.over.eval(r)
	if err != nil {
		return at(s.line, err)
	}
	return at(s.line, s.run(r, v, r.scope, 0))
}

func (s *loop) run(r *run, over any, around *scope, depth int) error {
	items, err := r.iterate(over)
	if err != nil {
		return err
	}
	if s.test != nil {
		if items, err = s.chosen(r, items); err != nil {
			return err
		}
	}
	if len(items) == 0 {
		return r.exec(s.otherwise)
	}
	state := &loopState{of: s, items: items, depth: depth, scope: around}
	for state.at = range items {
		err := r.inside(around, func() error {
			if err := r.assign(s.targets, items[state.at]); err != nil {
				return err
			}
			r.scope.set("loop", state)
			return r.exec(s.body)
		})
		switch {
		case errors.Is(err, errBreak):
			return nil
		case err != nil && !errors.Is(err, errContinue):
			return err
		}
		if err := r.step(1); err != nil {
			return err
		}
	}
	return nil
}

// chosen are the items that pass the loop's own `if`, which loop.length counts.
func (s *loop) chosen(r *run, items []any) ([]any, error) {
	var all []any
	for _, item := range items {
		var v any
		err := r.inside(r.scope, func() (err error) {
			if err = r.assign(s.targets, item); err == nil {
				v, err = s.test.eval(r)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if truth(v) {
			all = append(all, item)
		}
	}
	return all, nil
}

// attribute is loop.NAME.
func (l *loopState) attribute(name string) (any, bool) {
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
			return &undefined{"there is no previous item"}, true
		}
		return l.items[l.at-1], true
	case "nextitem":
		if l.at == n-1 {
			return &undefined{"there is no next item"}, true
		}
		return l.items[l.at+1], true
	case "cycle":
		return &function{"cycle", l.cycle}, true
	case "changed":
		return &function{"changed", l.changed}, true
	}
	return nil, false
}

func (l *loopState) cycle(_ *run, a args) (any, error) {
	if len(a.plain) == 0 {
		return nil, errorf("no items for cycling given")
	}
	return a.plain[l.at%len(a.plain)], nil
}

func (l *loopState) changed(r *run, a args) (any, error) {
	same := l.last != nil && len(l.last) == len(a.plain)
	for i := 0; same && i < len(a.plain); i++ {
		var err error
		if same, err = r.equal(l.last[i], a.plain[i]); err != nil {
			return nil, err
		}
	}
	l.last = a.plain
	return !same, nil
}

// again is loop(items) in a recursive loop.
func (l *loopState) again(r *run, a args) (any, error) {
	if !l.of.recursive || len(a.plain) != 1 {
		return nil, errorf("only a recursive loop can be called, with what to loop over")
	}
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.leave()
	return r.captured(func() error { return l.of.run(r, a.plain[0], l.scope, l.depth+1) })
}
