package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
)

// SampleOptions say which windows Sample draws.
type SampleOptions struct {
	Samples int // how many windows
	Length  int // tokens in each
	Seed    uint64
}

// Encode turns a text into token ids. It returns early, with its error, when
// the context ends.
type Encode func(ctx context.Context, text string) ([]int32, error)

// Sample draws windows of Length tokens from texts. The documents are visited
// in the order of a hash of the seed and their text, passing over those too
// short; each gives one window, at a place that the same hash decides, before
// any gives a second one. No window of a document is drawn twice, and
// documents that are equal count once. So the windows depend on the set of
// texts and on the options alone, not on the order of texts or files.
//
// Texts is ranged over once, and again only where few documents are long
// enough; a bounded number of them is held. Encode is called for no more
// documents than are needed.
func Sample(ctx context.Context, texts iter.Seq2[string, error], encode Encode, opt SampleOptions) ([][]int32, error) {
	if opt.Samples < 1 || opt.Length < 1 {
		return nil, fmt.Errorf("%d samples of %d tokens: want at least one of each", opt.Samples, opt.Length)
	}
	s := &sampler{opt: opt, encode: encode}
	for held := max(256, 16*opt.Samples); ; held *= 8 {
		more, err := s.collect(ctx, texts, held)
		if err != nil {
			return nil, err
		}
		if err := s.visitHeld(ctx); err != nil {
			return nil, err
		}
		if len(s.out) == opt.Samples {
			return s.out, nil
		}
		if !more {
			return s.again(ctx)
		}
	}
}

type sampler struct {
	opt     SampleOptions
	encode  Encode
	held    []candidate // those to visit, by key
	after   key         // all up to it are visited
	started bool
	docs    []*document // visited, with windows left
	out     [][]int32
	texts   int    // how many there are
	longest int    // tokens of the longest visited
	short   string // the longest text that was passed over as too short
}

// key is a hash of the seed and a text.
type key [16]byte

func (s *sampler) key(text string) key {
	h := sha256.New()
	h.Write(binary.LittleEndian.AppendUint64(nil, s.opt.Seed))
	h.Write([]byte(text))
	return key(h.Sum(nil)[:16])
}

// candidate is a text that may be long enough.
type candidate struct {
	key  key
	text string
}

func byKey(a, b candidate) int { return bytes.Compare(a.key[:], b.key[:]) }

// maxHeld bounds the bytes of the texts held at a time, save for one text.
const maxHeld = 256 << 20

// collect holds the first n candidates after those visited; more tells whether
// there are others. It sorts whenever twice as many have come together.
func (s *sampler) collect(ctx context.Context, texts iter.Seq2[string, error], n int) (more bool, err error) {
	s.held, s.texts = nil, 0
	size := 0
	trim := func() {
		slices.SortFunc(s.held, byKey)
		s.held = slices.CompactFunc(s.held, func(a, b candidate) bool { return a.key == b.key })
		size = 0
		for i, c := range s.held {
			if i == n || i > 0 && size+len(c.text) > maxHeld {
				clear(s.held[i:])
				s.held, more = s.held[:i], true
				break
			}
			size += len(c.text)
		}
	}
	for text, err := range texts {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return false, err
		}
		s.texts++
		// Normalisation may lengthen a text elevenfold, never more; the bound
		// spares documents that cannot be long enough.
		if 11*len(text)+8 < s.opt.Length {
			if len(text) > len(s.short) {
				s.short = text
			}
			continue
		}
		c := candidate{s.key(text), text}
		if s.started && bytes.Compare(c.key[:], s.after[:]) <= 0 {
			continue
		}
		s.held = append(s.held, c)
		if size += len(text); len(s.held) >= 2*n || size > 2*maxHeld {
			trim()
		}
	}
	trim()
	return more, nil
}

// visitHeld takes a window of each, until there are enough.
func (s *sampler) visitHeld(ctx context.Context) error {
	for _, c := range s.held {
		if len(s.out) == s.opt.Samples {
			return nil
		}
		ids, err := s.encode(ctx, c.text)
		if err != nil {
			return err
		}
		s.longest = max(s.longest, len(ids))
		s.after, s.started = c.key, true
		if left := len(ids) - s.opt.Length + 1; left > 0 {
			rng := rand.New(rand.NewPCG(binary.LittleEndian.Uint64(c.key[:8]), binary.LittleEndian.Uint64(c.key[8:])))
			s.visit(&document{ids: ids, left: left, rng: rng})
		}
	}
	return nil
}

// document is a text that has windows left to give.
type document struct {
	ids   []int32
	left  int          // number of starts not drawn
	drawn map[int]bool // starts drawn
	rng   *rand.Rand
}

func (s *sampler) visit(d *document) {
	s.out = append(s.out, d.draw(s.opt.Length))
	if d.left > 0 {
		s.docs = append(s.docs, d)
	}
}

// again goes round the documents until there are enough windows.
func (s *sampler) again(ctx context.Context) ([][]int32, error) {
	if len(s.out) == 0 {
		return nil, s.tooShort(ctx)
	}
	for len(s.out) < s.opt.Samples {
		if len(s.docs) == 0 {
			return nil, fmt.Errorf("the texts hold only %d different windows of %d tokens, and %d are asked for; ask for fewer --samples or a smaller --length", len(s.out), s.opt.Length, s.opt.Samples)
		}
		docs := s.docs[:min(len(s.docs), s.opt.Samples-len(s.out))]
		rest := s.docs[len(docs):]
		s.docs = nil
		for _, d := range docs {
			s.visit(d)
		}
		s.docs = append(s.docs, rest...)
	}
	return s.out, nil
}

// draw takes the next start not drawn yet at or after a random one.
func (d *document) draw(length int) []int32 {
	starts := len(d.ids) - length + 1
	at := d.rng.IntN(starts)
	for d.drawn[at] { // at most as many steps as windows drawn
		at = (at + 1) % starts
	}
	if d.drawn == nil {
		d.drawn = map[int]bool{}
	}
	d.drawn[at] = true
	d.left--
	return slices.Clone(d.ids[at : at+length])
}

// tooShort says how long the texts are, of which none is long enough.
func (s *sampler) tooShort(ctx context.Context) error {
	if s.texts == 0 {
		return errors.New("there is no text")
	}
	if s.longest == 0 && s.short != "" {
		ids, err := s.encode(ctx, s.short)
		if err != nil {
			return err
		}
		s.longest = len(ids)
	}
	noun := "texts"
	if s.texts == 1 {
		noun = "text"
	}
	return fmt.Errorf("none of %d %s has %d tokens (the longest looked at has %d); ask for a smaller --length, or pass --windows joined, which joins the rows", s.texts, noun, s.opt.Length, s.longest)
}
