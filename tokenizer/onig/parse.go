package onig

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// parser reads a pattern from left to right.
type parser struct {
	text  string
	at    int
	depth int

	fold, dot, extended bool // (?i), (?m): '.' is every character, (?x): white space means nothing
}

func parse(pattern string) (node, error) {
	p := parser{text: pattern}
	n, err := p.alternatives()
	if err == nil && p.at < len(p.text) {
		err = errors.New("a ) without its (")
	}
	if err != nil {
		return nil, fmt.Errorf("at %d: %w", p.at, err)
	}
	return n, nil
}

func (p *parser) rest() string { return p.text[p.at:] }

// take goes past a prefix, if it is there.
func (p *parser) take(prefix string) bool {
	if strings.HasPrefix(p.rest(), prefix) {
		p.at += len(prefix)
		return true
	}
	return false
}

func (p *parser) next() rune {
	r, n := utf8.DecodeRuneInString(p.rest())
	p.at += n
	return r
}

// enter bounds recursion; leave belongs to it.
func (p *parser) enter() error {
	if p.depth++; p.depth > maxDepth {
		return unsupported(fmt.Sprintf("more than %d groups or classes inside one another", maxDepth))
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// alternatives reads up to a ) or the end.
func (p *parser) alternatives() (node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	var all []node
	for {
		n, err := p.sequence()
		if err != nil {
			return nil, err
		}
		all = append(all, n)
		if !p.take("|") {
			break
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return alt{all}, nil
}

// sequence reads up to a |, a ) or the end.
func (p *parser) sequence() (node, error) {
	var all []node
	before := rune(-1) // the literal that ended just before, where case is folded
	for p.skip(); p.at < len(p.text) && p.text[p.at] != '|' && p.text[p.at] != ')'; p.skip() {
		n, literal, err := p.item()
		if err != nil {
			return nil, err
		}
		if p.fold && literal >= 0 && before >= 0 && foldsTogether(before, literal) {
			return nil, unsupported(fmt.Sprintf("(?i) with %q, which other characters fold to", string([]rune{before, literal})))
		}
		before = literal
		if n, err = p.quantified(n); err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return cat{all}, nil
}

// skip goes past what (?x) makes invisible, and comments.
func (p *parser) skip() {
	for {
		switch {
		case p.take("(?#"):
			end := strings.IndexByte(p.rest(), ')')
			if end < 0 {
				p.at = len(p.text)
				return
			}
			p.at += end + 1
		case p.extended && p.at < len(p.text) && strings.IndexByte(" \t\n\r\v\f", p.text[p.at]) >= 0:
			p.at++
		case p.extended && p.take("#"):
			end := strings.IndexByte(p.rest(), '\n')
			if end < 0 {
				end = len(p.rest())
			}
			p.at += end
		default:
			return
		}
	}
}

// item reads one thing that a quantifier may follow; literal is its character, -1 if it is none.
func (p *parser) item() (n node, literal rune, err error) {
	switch r := p.next(); r {
	case '(':
		n, err = p.group()
	case '[':
		n, err = p.class()
	case '.':
		n = chars{newSet(complement([]span{{'\n', '\n'}}))}
		if p.dot {
			n = chars{newSet([]span{{0, unicode.MaxRune}})}
		}
	case '^':
		n = anchor{lineStart}
	case '$':
		n = anchor{lineEnd}
	case '*', '+', '?':
		err = fmt.Errorf("%c repeats nothing", r)
	case '\\':
		return p.escape()
	case '{':
		if _, _, ok := p.interval(); ok {
			return nil, -1, errors.New("{ repeats nothing")
		}
		return p.literal(r)
	default:
		return p.literal(r)
	}
	return n, -1, err
}

// literal is a character by itself.
func (p *parser) literal(r rune) (node, rune, error) {
	spans := []span{{r, r}}
	if p.fold {
		if len(intersection(spans, unfolds())) > 0 {
			return nil, -1, unsupported(fmt.Sprintf("(?i) with %q, which folds to more than one character", r))
		}
		spans = folded(spans)
	}
	return chars{newSet(spans)}, r, nil
}

// quantified reads the quantifiers after an item.
func (p *parser) quantified(n node) (node, error) {
	for {
		p.skip()
		if p.at == len(p.text) {
			return n, nil
		}
		low, high := 0, -1
		switch p.text[p.at] {
		case '*':
		case '+':
			low = 1
		case '?':
			high = 1
		case '{':
			after := *p
			after.at++
			var ok bool
			if low, high, ok = after.interval(); !ok {
				return n, nil
			}
			p.at = after.at - 1
		default:
			return n, nil
		}
		braced := p.text[p.at] == '}'
		p.at++
		var err error
		if n, err = p.repeated(n, low, high, braced); err != nil {
			return nil, err
		}
	}
}

// repeated makes a loop; after braces + is no possessive mark but another quantifier, and after {n} so is ?.
func (p *parser) repeated(n node, low, high int, braced bool) (node, error) {
	if zeroWidth(n) {
		return nil, errors.New("a place cannot be repeated")
	}
	if high >= 0 && low > high {
		return nil, unsupported(fmt.Sprintf("{%d,%d}, the larger number first,", low, high))
	}
	r := repeat{body: n, min: low, max: high}
	switch {
	case !(braced && low == high) && p.take("?"):
		r.lazy = true
	case !braced && p.take("+"):
		loop, err := r.loop()
		return atomic{loop}, err
	}
	return r.loop()
}

// loop makes sure that every round of a loop without end moves on.
func (r repeat) loop() (node, error) {
	if r.max == 1 || !nullable(r.body) {
		return r, nil
	}
	body, ok := filled(r.body, !r.lazy)
	if !ok || r.max > 1 && !optional(r.body) {
		return nil, unsupported("a loop whose body may match nothing before it matches something")
	}
	if r.max > 1 {
		return r, nil
	}
	rounds := repeat{body, 0, -1, r.lazy}
	if r.min == 0 {
		return rounds, nil
	}
	return cat{[]node{repeat{r.body, r.min, r.min, false}, rounds}}, nil
}

// interval reads {n}, {n,}, {,n} or {n,m} after its brace.
func (p *parser) interval() (low, high int, ok bool) {
	end := strings.IndexByte(p.rest(), '}')
	if end < 0 {
		return 0, 0, false
	}
	from, to, comma := strings.Cut(p.rest()[:end], ",")
	if !comma {
		to = from
	}
	if from == "" && to == "" || !digits(from) || !digits(to) {
		return 0, 0, false
	}
	low, errLow := strconv.Atoi("0" + from)
	high, errHigh := strconv.Atoi("0" + to)
	if errLow != nil || errHigh != nil {
		return 0, 0, false
	}
	if to == "" {
		high = -1
	}
	p.at += end + 1
	return low, high, true
}

func digits(text string) bool {
	return strings.Trim(text, "0123456789") == "" && len(text) < 7
}
