package tokenizer

import (
	"fmt"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A tokenizer's files are a stranger's. These bounds keep what they cost in time and memory in proportion to the
// files and to the texts; published tokenizers stay far below them.
const (
	// maxFile bounds what is read into memory; the largest published tokenizer is below 40 MB.
	maxFile = 128 << 20
	// maxConfig bounds the files beside it.
	maxConfig = 32 << 20
	// maxID bounds the tables indexed by id, so that a damaged file cannot ask for gigabytes.
	maxID = 1 << 24
	// sparse and maxGap bound the largest id by the number of tokens.
	sparse = 4
	maxGap = 1 << 16
	// maxTokens bounds vocabularies and lists of merges.
	maxTokens = 1 << 22
	// maxToken bounds one token in bytes; published ones stay below 1000.
	maxToken = 4096
	// maxSquares bounds the sum of the squares of tokens' lengths, what finding their parts costs.
	maxSquares = 1 << 31
	// maxSearched bounds the tokens that text is searched for, in bytes together.
	maxSearched = 4 << 20
	// maxStages bounds the stages of a kind, and maxNested how deep they lie in one another.
	maxStages = 64
	maxNested = 16
	// maxInsert bounds what a stage writes into a text at one place.
	maxInsert = 256
	// maxGrowth bounds how many times longer than the text normalisation may make it.
	maxGrowth = 256
	// maxReading bounds what a decoder makes of one token, and maxDecoded of all together.
	maxReading = 1 << 16
	maxDecoded = 128 << 20
	// maxAround bounds the ids put around a text.
	maxAround = 256
)

// stages counts the stages of one kind that a file lists.
type stages struct{ count, depth int }

// enter begins a stage; leave ends it.
func (s *stages) enter(what string) error {
	s.count++
	s.depth++
	switch {
	case s.count > maxStages:
		return fmt.Errorf("%s: more than %d stages: %w", what, maxStages, ErrUnsupported)
	case s.depth > maxNested:
		return fmt.Errorf("%s: more than %d stages inside one another: %w", what, maxNested, ErrUnsupported)
	}
	return nil
}

func (s *stages) leave() { s.depth-- }

// checkInsert bounds a text that a stage writes.
func checkInsert(what, text string) error {
	if len(text) > maxInsert {
		return fmt.Errorf("%s: writes %d bytes at a place: %w (at most %d)", what, len(text), ErrUnsupported, maxInsert)
	}
	return nil
}

// grower is a normalizer that may make a text longer: by up to growth times. Others make it 1.5 times as long at
// most, as case does.
type grower interface {
	growth() float64
}

func growth(n normalizer) float64 {
	if g, ok := n.(grower); ok {
		return g.growth()
	}
	return 1.5
}

// growth of a sequence counts Unicode's forms once: what is decomposed does not grow again.
func (ns normalizers) growth() float64 {
	all, forms := 1.0, 1.0
	for _, n := range ns {
		if f, ok := n.(unicodeForm); ok {
			forms = max(forms, f.growth())
			continue
		}
		if r, ok := n.(rewriter); ok && !r.longer {
			continue
		}
		all *= growth(n)
	}
	return all * forms
}

// growth is Unicode's own bound for a form in UTF-8 (Unicode Standard Annex 15, table 7).
func (f unicodeForm) growth() float64 {
	switch norm.Form(f) {
	case norm.NFKC, norm.NFKD:
		return 11
	}
	return 3
}

func (p prepend) growth() float64 { return 1 + float64(len(p)) }

// growth of a replacement is at most that of the shortest match.
func (r *replace) growth() float64 {
	n := float64(len(r.content))
	if least := float64(r.find.least()); least > 0 {
		return max(1, n/least)
	}
	return 1 + n
}

func (l literal) least() int    { return len(l) }
func (characters) least() int   { return 1 }
func (threeDigits) least() int  { return 3 }
func (*byteSet) least() int     { return 1 }
func (e expression) least() int { return e.re.MinLen() }

// checkGrowth refuses a normalizer that multiplies its text.
func checkGrowth(n normalizer) error {
	if n == nil {
		return nil
	}
	if by := growth(n); by > maxGrowth {
		return fmt.Errorf("normalizer: may make a text %.0f times as long: %w (at most %d times)", by, ErrUnsupported, maxGrowth)
	}
	return nil
}

// squares adds up what finding the parts of tokens costs.
type squares int64

func (s *squares) add(token string) error {
	if *s += squares(len(token)) * squares(len(token)); *s > maxSquares {
		return fmt.Errorf("the squares of the tokens' lengths are more than %d together: %w", maxSquares, ErrUnsupported)
	}
	return nil
}

// checkSearched bounds the tokens that text is searched for.
func checkSearched(added []addedToken) error {
	sum := 0
	for _, tok := range added {
		if len(tok.Content) > maxToken {
			return fmt.Errorf("added token %.40q…: %d bytes is too long for a token (at most %d): correct it or get the file again", tok.Content, len(tok.Content), maxToken)
		}
		sum += len(tok.Content)
	}
	if sum > maxSearched {
		return fmt.Errorf("added tokens: %d bytes together: %w (at most %d)", sum, ErrUnsupported, maxSearched)
	}
	return nil
}

// oneCharacter reports whether text is one character.
func oneCharacter(text string) bool { return utf8.RuneCountInString(text) == 1 }
