// Package data reads what a model is run on: rows and texts from files in the
// formats data sets are kept in, sequences of token ids, and windows of
// documents drawn with a seed.
//
// Here belong file formats, the way the hub lays data sets out, and sampling.
// Turning text into ids is the tokenizer's work, which callers pass in; what is
// done with the sequences is none of this package's business.
package data

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"unicode/utf8"
)

// Error says what is wrong with a data file, and where.
type Error struct {
	Path   string
	Where  string // "line 3", "sequence 2, index 7"; empty for the whole file
	What   string
	Remedy string
}

func (e *Error) Error() string {
	msg := e.Path + ": "
	if e.Where != "" {
		msg += e.Where + ": "
	}
	msg += e.What
	if e.Remedy != "" {
		msg += "; " + e.Remedy
	}
	return msg
}

// DefaultField is the field of an object that holds its text.
const DefaultField = "text"

// ReadTexts reads all the texts of a file, of which there must be one.
func ReadTexts(path, field string) ([]string, error) {
	var texts []string
	for text, err := range Texts([]string{path}, field) {
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		return nil, &Error{Path: path, What: "holds no text"}
	}
	return texts, nil
}

// Texts reads the texts of files, one file after the other: a text file is one
// text, or none when it is empty; every other kind that Rows knows has one a
// row, in the column called field (DefaultField where that is empty). Text must
// be valid UTF-8; a byte order mark at the start is not part of it, and line ends
// \r\n and \r of text files are \n. The first
// error ends the sequence.
func Texts(paths []string, field string) iter.Seq2[string, error] {
	if field == "" {
		field = DefaultField
	}
	return func(yield func(string, error) bool) {
		for _, path := range paths {
			if !textsOf(path, field, yield) {
				return
			}
		}
	}
}

func textsOf(path, field string, yield func(string, error) bool) (more bool) {
	if kind, _ := formatOf(path); isText(kind) {
		texts, err := readWhole(path)
		if err != nil {
			yield("", err)
		}
		return err == nil && (len(texts) == 0 || yield(texts[0], nil))
	}
	for row, err := range Rows(path, RowOptions{}) {
		text := ""
		if err == nil {
			text, err = row.Text(field)
			err = withField(err)
		}
		if !yield(text, err) || err != nil {
			return false
		}
	}
	return true
}

// withField says how to name another column.
func withField(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Remedy == "" {
		e.Remedy = "name the field that holds the text with --field"
	}
	return err
}

// maxUnpacked bounds the bytes of a packed file, or a pipe, that is one text.
const maxUnpacked = 1 << 30

// readWhole reads a text file as one text.
func readWhole(path string) ([]string, error) { return readWithin(path, maxUnpacked) }

func readWithin(path string, unpacked int) ([]string, error) {
	limit := math.MaxInt
	info, err := os.Stat(path)
	if _, packed := formatOf(path); packed != "" || err == nil && !info.Mode().IsRegular() {
		limit = unpacked // a few bytes may unpack to anything, and a pipe may have no end
	}
	t, err := openText(source{path: path, limit: limit})
	if err != nil {
		return nil, err
	}
	defer t.Close()
	raw, err := io.ReadAll(t)
	if errors.Is(err, errTooLong) {
		return nil, &Error{Path: path, What: fmt.Sprintf("it has, unpacked, more than the limit of %d bytes for one text", unpacked), Remedy: "make a plain file of it, or rows"}
	}
	if err != nil {
		return nil, t.damaged(err)
	}
	if len(raw) == 0 {
		return nil, nil
	}
	if at := invalidAt(raw); at >= 0 {
		return nil, &Error{Path: path, Where: fmt.Sprintf("byte %d", at), What: notUTF8, Remedy: toUTF8}
	}
	return []string{string(raw)}, nil
}

// invalidAt is where raw stops being UTF-8, or -1.
func invalidAt(raw []byte) int {
	if utf8.Valid(raw) {
		return -1
	}
	at := 0
	for {
		r, n := utf8.DecodeRune(raw[at:])
		if r == utf8.RuneError && n == 1 {
			return at
		}
		at += n
	}
}
