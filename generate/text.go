package generate

import "strings"

// Decoder writes text token by token; *tokenizer.Stream is one.
type Decoder interface {
	// Next returns the text that a token completes, which may be none yet.
	Next(id int) (string, error)
	// Flush returns what is left.
	Flush() string
}

// Text is what one sequence comes to in writing, up to the first of its stop
// strings, which may stand across tokens. Text that may be the beginning of one
// is held back until the next tokens show whether it is.
type Text struct {
	d     Decoder
	stop  []string
	held  string
	ended bool
}

// NewText begins a text. Empty stop strings are ignored.
func NewText(d Decoder, stop []string) *Text {
	t := &Text{d: d}
	for _, s := range stop {
		if s != "" {
			t.stop = append(t.stop, s)
		}
	}
	return t
}

// Next returns the text that is certain with one more token. Its error is ErrEnd,
// for Run, when a stop string has come: the text returned ends before it.
func (t *Text) Next(id int32) (string, error) {
	if t.ended {
		return "", ErrEnd
	}
	part, err := t.d.Next(int(id))
	if err != nil {
		return "", err
	}
	return t.take(part)
}

// Flush returns what was held back, up to a stop string that the end completes.
func (t *Text) Flush() string {
	if t.ended {
		return ""
	}
	text, err := t.take(t.d.Flush())
	if err == nil {
		text += t.held
	}
	t.held, t.ended = "", true
	return text
}

func (t *Text) take(part string) (string, error) {
	text := t.held + part
	end := -1
	for _, s := range t.stop {
		if at := strings.Index(text, s); at >= 0 && (end < 0 || at < end) {
			end = at
		}
	}
	if end >= 0 {
		t.held, t.ended = "", true
		return text[:end], ErrEnd
	}
	keep := 0
	for _, s := range t.stop {
		keep = max(keep, overlap(text, s))
	}
	t.held = text[len(text)-keep:]
	return text[:len(text)-keep], nil
}

// overlap is the length of the longest end of text that stop begins with.
func overlap(text, stop string) int {
	for n := min(len(text), len(stop)-1); n > 0; n-- {
		if strings.HasSuffix(text, stop[:n]) {
			return n
		}
	}
	return 0
}
