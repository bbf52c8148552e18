// Package data reads what a model is run on: texts from files, sequences of
// token ids, and windows of documents drawn with a seed.
//
// Here belong file formats and sampling. Turning text into ids is the
// tokenizer's work, which callers pass in; what is done with the sequences is
// none of this package's business. It imports the standard library only.
package data

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// Formats lists the file name extensions that ReadTexts knows.
func Formats() []string { return []string{".txt", ".json", ".jsonl"} }

// ReadTexts reads the texts of a file, by its extension: a .txt is one text;
// a .json is a list of strings, or of objects whose field holds the text; a
// .jsonl has one such string or object a line. Text must be valid UTF-8; a
// byte order mark at the start is not part of it.
func ReadTexts(path, field string) ([]string, error) {
	if field == "" {
		field = DefaultField
	}
	ext := strings.ToLower(filepath.Ext(path))
	if !slices.Contains(Formats(), ext) {
		return nil, &Error{Path: path, What: fmt.Sprintf("unknown kind of file %q", ext), Remedy: "valid ones: " + strings.Join(Formats(), ", ")}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
	var texts []string
	switch ext {
	case ".txt":
		texts, err = readText(path, raw)
	case ".json":
		texts, err = readJSON(path, raw, field)
	case ".jsonl":
		texts, err = readLines(path, raw, field)
	}
	if err != nil {
		return nil, err
	}
	if len(texts) == 0 {
		return nil, &Error{Path: path, What: "holds no text"}
	}
	return texts, nil
}

// HasFields reports whether a file of this name can have fields.
func HasFields(path string) bool { return strings.ToLower(filepath.Ext(path)) != ".txt" }

func readText(path string, raw []byte) ([]string, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	for at := 0; at < len(raw); {
		r, n := utf8.DecodeRune(raw[at:])
		if r == utf8.RuneError && n == 1 {
			return nil, &Error{Path: path, Where: fmt.Sprintf("byte %d", at), What: "not valid UTF-8", Remedy: "convert the file to UTF-8"}
		}
		at += n
	}
	return []string{string(raw)}, nil
}

func readJSON(path string, raw []byte, field string) ([]string, error) {
	if !utf8.Valid(raw) { // encoding/json would replace bad bytes in silence
		return nil, &Error{Path: path, What: "not valid UTF-8", Remedy: "convert the file to UTF-8"}
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, &Error{Path: path, Where: place(err), What: "not a JSON list: " + err.Error(), Remedy: "want [\"text\", …] or [{\"" + field + "\": \"text\"}, …]; one object a line is a .jsonl"}
	}
	texts := make([]string, len(items))
	for i, item := range items {
		text, what := textOf(item, field)
		if what != "" {
			return nil, &Error{Path: path, Where: fmt.Sprintf("item %d", i), What: what, Remedy: "name the field that holds the text with --field"}
		}
		texts[i] = text
	}
	return texts, nil
}

func readLines(path string, raw []byte, field string) ([]string, error) {
	var texts []string
	r := bufio.NewReader(bytes.NewReader(raw))
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			if !utf8.Valid(line) {
				return nil, &Error{Path: path, Where: fmt.Sprintf("line %d", n), What: "not valid UTF-8", Remedy: "convert the file to UTF-8"}
			}
			text, what := textOf(line, field)
			if what != "" {
				return nil, &Error{Path: path, Where: fmt.Sprintf("line %d", n), What: what, Remedy: "name the field that holds the text with --field"}
			}
			texts = append(texts, text)
		}
		if errors.Is(err, io.EOF) {
			return texts, nil
		}
	}
}

// textOf takes the text out of one JSON value; what says why it has none.
func textOf(raw []byte, field string) (text, what string) {
	if json.Unmarshal(raw, &text) == nil && !isNull(raw) {
		return text, ""
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil || object == nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return "", "not JSON: " + err.Error()
		}
		return "", "neither a string nor an object"
	}
	value, ok := object[field]
	if !ok {
		return "", fmt.Sprintf("has no field %q (it has: %s)", field, strings.Join(keys(object), ", "))
	}
	if json.Unmarshal(value, &text) != nil || isNull(value) {
		return "", fmt.Sprintf("field %q is not a string", field)
	}
	return text, ""
}

func isNull(raw []byte) bool { return string(bytes.TrimSpace(raw)) == "null" }

func keys(object map[string]json.RawMessage) []string {
	out := make([]string, 0, len(object))
	for k := range object {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// place is where in the file a JSON error lies.
func place(err error) string {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("byte %d", syntax.Offset)
	}
	return ""
}
