package data

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

const notUTF8 = "not valid UTF-8"

// readText makes a row of every line.
func readText(s source, yield func(Row) bool) error {
	t, err := openText(s)
	if err != nil {
		return err
	}
	defer t.Close()
	columns := []string{DefaultField}
	var line []byte
	for n := 1; ; n++ {
		line, err = t.line(line)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		row := Row{Columns: columns, Values: []any{string(line)}, at: place{s.path, "line", n, -1}}
		if !utf8.Valid(line) {
			return row.Fail(notUTF8, toUTF8)
		}
		if !yield(row) {
			return nil
		}
	}
}

const toUTF8 = "convert the file to UTF-8"

// readCSV reads comma or tab separated values.
func readCSV(s source, yield func(Row) bool) error {
	t, err := openText(s)
	if err != nil {
		return err
	}
	defer t.Close()
	r := csv.NewReader(t)
	r.ReuseRecord = true
	r.FieldsPerRecord = -1 // counted below, with a better message
	if kind, _ := formatOf(s.path); kind == ".tsv" {
		r.Comma = '\t'
	}
	columns := s.opt.Names
	for {
		t.next()
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return csvError(t, err)
		}
		line, _ := r.FieldPos(0)
		row := Row{Columns: columns, at: place{s.path, "line", line, -1}}
		if i := slices.IndexFunc(record, func(f string) bool { return !utf8.ValidString(f) }); i >= 0 {
			return row.Fail(fmt.Sprintf("field %d: %s", i, notUTF8), toUTF8)
		}
		if columns == nil {
			columns = slices.Clone(record)
			if err := checkNames(row, columns); err != nil {
				return err
			}
			continue
		}
		if len(record) != len(columns) {
			return row.Fail(fmt.Sprintf("has %d fields, want %d (%s)", len(record), len(columns), strings.Join(columns, ", ")), "look for a comma or quote that is missing or too many")
		}
		for _, f := range record {
			row.Values = append(row.Values, f)
		}
		if !yield(row) {
			return nil
		}
	}
}

func checkNames(header Row, names []string) error {
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return header.Fail(fmt.Sprintf("two columns are called %q", name), "give every column a name of its own")
		}
	}
	return nil
}

func csvError(t *text, err error) error {
	var syntax *csv.ParseError
	if !errors.As(err, &syntax) {
		return t.damaged(err)
	}
	what := fmt.Sprintf("%v, at line %d, column %d", syntax.Err, syntax.Line, syntax.Column)
	return &Error{Path: t.path, Where: fmt.Sprintf("line %d", syntax.StartLine), What: what, Remedy: "look for a comma or quote that is missing or too many"}
}
