package tokenizer

// Stages after ByteLevel see bytes spelled as characters: the digits of U+00B2 and its like stand for bytes
// of other characters there. Pieces stay raw bytes in this package, so such a stage works on bytes, or on a
// spelling made for it alone.

// afterByteLevel is a stage for pieces of raw bytes that cuts as the given one does their spelling.
func afterByteLevel(stage preTokenizer) preTokenizer {
	spell, _ := byteSpelling()
	d, ok := stage.(*delimited)
	if !ok {
		return newSpelled(stage)
	}
	switch find := d.find.(type) {
	case characters:
		set := new(byteSet)
		for b := range set {
			set[b] = find.in(spell[b])
		}
		return &delimited{find: set, how: d.how, invert: d.invert}
	case threeDigits: // digits spell themselves
		return d
	}
	return newSpelled(stage)
}

// byteSet matches single bytes.
type byteSet [256]bool

func (set *byteSet) any(text string) bool {
	for i := range len(text) {
		if set[text[i]] {
			return true
		}
	}
	return false
}

func (set *byteSet) each(text string, visit func(from, to int, delimiter bool)) {
	start := 0
	for i := range len(text) {
		if set[text[i]] {
			visit(start, i, false)
			visit(i, i+1, true)
			start = i + 1
		}
	}
	visit(start, len(text), false)
}

// spelled shows a stage the spelling of bytes and reads its pieces back. Characters that the stage itself
// brings in and that spell nothing vanish, as they would from the vocabulary.
type spelled struct {
	stage preTokenizer
	spell [256]rune
	read  *byteReader
}

func newSpelled(stage preTokenizer) *spelled {
	spell, _ := byteSpelling()
	return &spelled{stage: stage, spell: spell, read: newByteReader()}
}

func (s *spelled) split(text string, first bool, yield func(string)) {
	runes := make([]rune, 0, len(text))
	for i := range len(text) {
		runes = append(runes, s.spell[text[i]])
	}
	s.stage.split(string(runes), first, func(piece string) {
		raw := make([]byte, 0, len(piece))
		for _, r := range piece {
			if int(r) < len(s.read) && s.read[r] >= 0 {
				raw = append(raw, byte(s.read[r]))
			}
		}
		if len(raw) > 0 {
			yield(string(raw))
		}
	})
}
