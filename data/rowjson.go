package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// readLines reads one JSON value a line.
func readLines(s source, yield func(Row) bool) error {
	t, err := openText(s)
	if err != nil {
		return err
	}
	defer t.Close()
	var line []byte
	buf := bytes.NewBuffer(nil)
	d := jsontext.NewDecoder(buf)
	for n := 1; ; n++ {
		line, err = t.line(line)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		*buf = *bytes.NewBuffer(line)
		d.Reset(buf)
		row := Row{at: place{s.path, "line", n, -1}}
		if err := row.decode(d, s.opt.Raw); err != nil {
			return row.Fail(jsonProblem(err), "a .jsonl file has one object a line")
		}
		if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
			return row.Fail("has more after the object", "a .jsonl file has one object a line")
		}
		if !yield(row) {
			return nil
		}
	}
}

// readJSON reads a list of values, or one value after another.
func readJSON(s source, yield func(Row) bool) error {
	t, err := openText(s)
	if err != nil {
		return err
	}
	defer t.Close()
	d := jsontext.NewDecoder(t)
	list := d.PeekKind() == '['
	if list {
		if _, err := d.ReadToken(); err != nil {
			return jsonError(t, d, err)
		}
	}
	for n := 0; ; n++ {
		t.next()
		if list && d.PeekKind() == ']' {
			return endOfList(t, d)
		}
		row := Row{at: place{s.path, "item", n, -1}}
		err := row.decode(d, s.opt.Raw)
		switch {
		case errors.Is(err, io.EOF) && !list:
			return nil
		case errors.Is(err, errNoRow):
			return row.Fail(err.Error(), "want [{…}, …], or one object after another")
		case err != nil:
			return jsonError(t, d, err)
		case !yield(row):
			return nil
		}
	}
}

func endOfList(t *text, d *jsontext.Decoder) error {
	if _, err := d.ReadToken(); err != nil {
		return jsonError(t, d, err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return &Error{Path: t.path, Where: fmt.Sprintf("byte %d", d.InputOffset()), What: "has more after the list", Remedy: "keep one list of objects"}
	}
	return nil
}

var errNoRow = errors.New("neither a string nor an object")

// decode reads one value and makes a row of it, lists and objects as they are
// written where raw is. io.EOF is the end before it.
func (r *Row) decode(d *jsontext.Decoder, raw bool) error {
	switch d.PeekKind() {
	case '"':
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		r.Columns, r.Values = []string{DefaultField}, []any{token.String()}
		return nil
	case '{':
		read := value
		if raw {
			read = written
		}
		return object(d, read, func(name string, value any) {
			r.Columns, r.Values = append(r.Columns, name), append(r.Values, value)
		})
	case jsontext.KindInvalid:
		_, err := d.ReadToken()
		return err
	}
	return errNoRow
}

// object reads the members of an object, in their order, each value by read.
func object(d *jsontext.Decoder, read func(*jsontext.Decoder) (any, error), member func(name string, value any)) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return cut(err)
		}
		name := token.String()
		value, err := read(d)
		if err != nil {
			return cut(err)
		}
		member(name, value)
	}
	_, err := d.ReadToken()
	return cut(err)
}

// cut: where more is needed, the end of the file is an error.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// written reads a value, a list or an object as it stands.
func written(d *jsontext.Decoder) (any, error) {
	if k := d.PeekKind(); k != '{' && k != '[' {
		return value(d)
	}
	raw, err := d.ReadValue()
	return json.RawMessage(bytes.Clone(raw)), err
}

func value(d *jsontext.Decoder) (any, error) {
	switch d.PeekKind() {
	case '{':
		m := map[string]any{}
		err := object(d, value, func(name string, value any) { m[name] = value })
		return m, err
	case '[':
		return list(d)
	}
	token, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case '"':
		return token.String(), nil
	case 't', 'f':
		return token.Bool(), nil
	case '0':
		return number(token)
	}
	return nil, nil // null: every other kind is dealt with above
}

func list(d *jsontext.Decoder) (any, error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	items := []any{}
	for d.PeekKind() != ']' {
		item, err := value(d)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	_, err := d.ReadToken()
	return items, err
}

// number keeps integers apart from fractions.
func number(token jsontext.Token) (any, error) {
	if !strings.ContainsAny(token.String(), ".eE") {
		if n, err := token.Int(); err == nil {
			return n, nil
		}
	}
	return token.Float()
}

// jsonError tells damage of the packing from damage of the text.
func jsonError(t *text, d *jsontext.Decoder, err error) error {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) && !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errTooLong) {
		return t.damaged(err)
	}
	at := d.InputOffset()
	if syntax != nil {
		at = syntax.ByteOffset
	}
	return &Error{Path: t.path, Where: fmt.Sprintf("byte %d", at), What: jsonProblem(err), Remedy: "want [{…}, …], or one object after another"}
}

// jsonProblem words an error of the decoder.
func jsonProblem(err error) string {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, errNoRow):
		return err.Error()
	case errors.As(err, &syntax):
		what := syntax.Err.Error()
		if syntax.JSONPointer != "" {
			what += " at " + string(syntax.JSONPointer)
		}
		return "not JSON: " + what
	}
	return "not JSON: " + err.Error()
}
