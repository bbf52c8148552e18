//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// law knows how to multiply so that a row of a product has the same bits whatever
// rows are beside it. The library does not promise that, but most of its algorithms
// keep to it, each for all numbers of rows: so of those it would use, each is
// probed against one of them at several numbers of rows and places among them. For
// each range of numbers the fastest of those that agree everywhere is used, and
// none that was not probed. What was found is kept in the cache, by device,
// library and shape. Its methods run on the worker.
type law struct {
	e         *Engine
	probes    []int // numbers of rows, ascending
	repeats   int
	cache     string // file, or ""
	known     map[shape]choices
	unprobed  bool // see tuning
	workspace buffer
}

// choices are the algorithms of a shape: for up to Rows rows each, the last also
// for more.
type choices []choice

type choice struct {
	Rows      int
	Algorithm algorithm
}

// room is to how many rows n are padded: few numbers, all of which were probed or
// lie between such that were.
func room(n int) int {
	if n <= 64 {
		return roundUp(max(n, 1), 8)
	}
	return roundUp(n, 64)
}

// mostRows bounds what is multiplied at a time: beyond the largest number that was
// probed, rows go in parts.
func (l *law) mostRows() int { return l.probes[len(l.probes)-1] }

func (e *Engine) newLaw(o Options, t tuning) (*law, error) {
	if o.Probes != nil {
		t.probe = o.Probes
	}
	l := &law{e: e, probes: t.probe, repeats: t.repeats, unprobed: t.unprobed, known: map[shape]choices{}}
	var err error
	if l.workspace, err = e.pool.take(work, workspaceBytes); err != nil {
		return nil, err
	}
	if o.Cache != "" {
		l.cache = filepath.Join(o.Cache, fmt.Sprintf("products-sm%d-%s-cublaslt%s-driver%d-half%v.json", e.device.architecture(), safe(e.device.name), e.b.is, e.device.driver, e.half))
		l.read()
	}
	return l, nil
}

// safe is a name as part of a file's.
func safe(name string) string {
	out := []byte(name)
	for i, c := range out {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			out[i] = '_'
		}
	}
	return string(out)
}

func (l *law) close() error { return l.e.pool.give(l.workspace) }

// cached is a line of the cache.
type cached struct {
	Out, In int
	Probes  []int
	Choices choices
}

// read takes what was probed before, with the same numbers of rows.
func (l *law) read() {
	raw, err := os.ReadFile(l.cache)
	var lines []cached
	if err != nil || json.Unmarshal(raw, &lines) != nil {
		return
	}
	for _, c := range lines {
		if slices.Equal(c.Probes, l.probes) && len(c.Choices) > 0 {
			l.known[shape{c.Out, c.In}] = c.Choices
		}
	}
}

func (l *law) write() {
	if l.cache == "" {
		return
	}
	var lines []cached
	for s, c := range l.known {
		lines = append(lines, cached{s.out, s.in, l.probes, c})
	}
	slices.SortFunc(lines, func(a, b cached) int { return 2*(a.Out-b.Out) + min(max(a.In-b.In, -1), 1) })
	if raw, err := json.Marshal(lines); err == nil {
		writeWhole(l.cache, raw)
	}
}

// multiply queues y [n, out] = x [n, in] w [out, in]ᵀ. Both x and y have room(n)
// rows; what is in those behind n is of no account.
func (l *law) multiply(s shape, n int, w, x, y address) error {
	all, err := l.of(s)
	if err != nil {
		return err
	}
	in := 4
	if l.e.half {
		in = 2
	}
	for at := 0; at < n; at += l.mostRows() {
		rows := room(min(n-at, l.mostRows()))
		p := product{shape: s, half: l.e.half, n: rows, w: w, x: x + address(at*s.in*in), y: y + address(at*s.out*4), workspace: l.workspace, stream: l.e.compute}
		for _, c := range all {
			if p.algorithm = c.Algorithm; rows <= c.Rows {
				break
			}
		}
		if l.unprobed {
			best, err := l.e.b.algorithms(s, l.e.half, rows, true)
			if err != nil {
				return err
			}
			p.algorithm = best[0].algorithm
		}
		if err := l.e.noted("products", func() error { return l.e.b.run(p) }); err != nil {
			return err
		}
	}
	return nil
}

// of returns a shape's algorithms, after probing them where that is new.
func (l *law) of(s shape) (choices, error) {
	if have, ok := l.known[s]; ok {
		return have, nil
	}
	found, err := l.probe(s)
	if err != nil {
		return nil, fmt.Errorf("probing products of [%d, %d]: %w", s.out, s.in, err)
	}
	l.known[s] = found
	l.write()
	return found, nil
}

// probing is the memory of one probe.
type probing struct {
	*law
	shape
	rows          int
	w, x, want, y buffer
	differs       buffer
}

// probe finds the algorithms of a shape.
func (l *law) probe(s shape) (_ choices, err error) {
	p := &probing{law: l, shape: s, rows: l.mostRows()}
	defer func() { err = errors.Join(err, p.release()) }()
	if err := p.prepare(); err != nil {
		return nil, err
	}
	candidates, err := p.candidates()
	if err != nil {
		return nil, err
	}
	for _, reference := range candidates {
		agreeing, err := p.agreeing(reference, candidates)
		if err != nil {
			return nil, err
		}
		if len(agreeing) > 0 {
			return p.fastest(agreeing)
		}
	}
	return nil, fmt.Errorf("of %d algorithms none gives a row the same bits whatever rows are beside it", len(candidates))
}

// prepare makes up weights and inputs.
func (p *probing) prepare() (err error) {
	in := 4
	if p.e.half {
		in = 2
	}
	for _, b := range []struct {
		into  *buffer
		bytes int
	}{{&p.w, p.out * p.in * in}, {&p.x, p.rows * p.in * in}, {&p.want, p.rows * p.out * 4}, {&p.y, p.rows * p.out * 4}, {&p.differs, 4}} {
		if *b.into, err = p.e.pool.take(work, int64(b.bytes)); err != nil {
			return err
		}
	}
	if err := p.e.spread("make_up", p.out*p.in, p.w, uint64(p.out*p.in), 1); err != nil {
		return err
	}
	return p.e.spread("make_up", p.rows*p.in, p.x, uint64(p.rows*p.in), 2)
}

func (p *probing) release() (err error) {
	for _, b := range []buffer{p.w, p.x, p.want, p.y, p.differs} {
		err = errors.Join(err, p.e.pool.give(b))
	}
	return errors.Join(err, p.e.pool.trim()) // nothing else is of their sizes
}

// candidates are what the library would use for some number of rows.
func (p *probing) candidates() (out []algorithm, err error) {
	for _, n := range []int{512, 64, 8, p.rows} {
		list, err := p.e.b.algorithms(p.shape, p.e.half, min(n, p.rows), false)
		if err != nil {
			return nil, err
		}
		for _, r := range list[:min(len(list), 8)] {
			if !slices.Contains(out, r.algorithm) {
				out = append(out, r.algorithm)
			}
		}
	}
	return out, nil
}

// run multiplies n rows from row first on, to the same rows of y.
func (p *probing) run(a algorithm, first, n int, y buffer) error {
	in := 4
	if p.e.half {
		in = 2
	}
	return p.e.b.run(product{shape: p.shape, half: p.e.half, n: n, w: p.w.at, x: p.x.from(int64(first * p.in * in)), y: y.from(int64(first * p.out * 4)),
		algorithm: a, workspace: p.workspace, stream: p.e.compute})
}

// agreeing lists the candidates that give the bits of the reference for all numbers
// of rows probed, at either end: none if the reference does not agree with itself.
func (p *probing) agreeing(reference algorithm, candidates []algorithm) (out []algorithm, err error) {
	if err := p.run(reference, 0, p.rows, p.want); err != nil {
		return nil, err
	}
	for _, a := range candidates {
		same := true
		for _, n := range p.probes {
			for _, first := range []int{0, (p.rows - n) / 8 * 8} {
				if same {
					if same, err = p.same(a, first, n); err != nil {
						return nil, err
					}
				}
			}
		}
		if same {
			out = append(out, a)
		} else if a == reference {
			return nil, nil
		}
	}
	return out, nil
}

// same says whether an algorithm gives rows [first, first+n) the wanted bits. One
// that cannot compute them does not.
func (p *probing) same(a algorithm, first, n int) (bool, error) {
	if err := p.e.d.do(p.e.d.fill, uintptr(p.differs.at), 0, 4, p.e.compute); err != nil {
		return false, err
	}
	if err := p.run(a, first, n, p.y); err != nil {
		var c *callError
		if errors.As(err, &c) && !c.fatal() {
			return false, nil
		}
		return false, err
	}
	at := int64(first * p.out * 4)
	if err := p.e.spread("compare_bits", n*p.out, p.differs, p.y.from(at), p.want.from(at), uint64(n*p.out)); err != nil {
		return false, err
	}
	var differs [1]int32
	err := p.e.fetchSmall(bytesOf(differs[:]), p.differs.at)
	return differs[0] == 0, err
}

// fastest chooses for each range that ends with a number probed.
func (p *probing) fastest(agreeing []algorithm) (out choices, err error) {
	for _, n := range p.probes {
		best, least := agreeing[0], float32(0)
		for i, a := range agreeing {
			if len(agreeing) == 1 {
				break
			}
			took, err := p.time(a, n)
			if err != nil {
				return nil, err
			}
			if i == 0 || took < least {
				best, least = a, took
			}
		}
		out = append(out, choice{n, best})
	}
	return out, nil
}

// time is how many milliseconds a product takes, the least of some.
func (p *probing) time(a algorithm, n int) (least float32, err error) {
	for i := range p.repeats {
		took, err := p.e.timed(func() error { return p.run(a, 0, n, p.y) })
		if err != nil {
			return 0, err
		}
		if i == 0 || took < least {
			least = took
		}
	}
	return least, nil
}
