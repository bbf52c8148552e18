package data

import (
	"encoding/json"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Row is one row of a file, its columns in the file's order. Values are what
// JSON has: string, bool, nil, []any, map[string]any, and numbers as int64
// where the file has an integer that fits and float64 elsewhere. Columns is
// shared between the rows of a table: do not change it. Everything else is the
// receiver's to keep.
type Row struct {
	Columns []string
	Values  []any
	at      place
}

// place is where a row lies in its file.
type place struct {
	path  string
	unit  string // what n counts: "line", "item" or "row"
	n     int
	group int // row group of a Parquet file, else -1
}

func (p place) String() string {
	if p.group >= 0 {
		return fmt.Sprintf("row group %d, row %d", p.group, p.n)
	}
	return p.unit + " " + strconv.Itoa(p.n)
}

// Fail returns an Error that names the row's file and place.
func (r Row) Fail(what, remedy string) error {
	return &Error{Path: r.at.path, Where: r.at.String(), What: what, Remedy: remedy}
}

// Place names the row's file and where in it the row is.
func (r Row) Place() string { return r.at.path + ": " + r.at.String() }

// Value returns the value of a column. The error of one that is not there
// lists those that are.
func (r Row) Value(column string) (any, error) {
	if i := slices.Index(r.Columns, column); i >= 0 {
		return r.Values[i], nil
	}
	return nil, r.Fail(fmt.Sprintf("has no column %q (it has: %s)", column, strings.Join(r.Columns, ", ")), "")
}

// Text returns the value of a column that holds a string.
func (r Row) Text(column string) (string, error) {
	v, err := r.Value(column)
	if err != nil {
		return "", err
	}
	text, ok := v.(string)
	if !ok {
		return "", r.Fail(fmt.Sprintf("column %q holds %s, not a string", column, kindOf(v)), "")
	}
	return text, nil
}

// Int returns the value of a column that holds an integer, also one written as
// a string: CSV has nothing else.
func (r Row) Int(column string) (int64, error) {
	v, err := r.Value(column)
	if err != nil {
		return 0, err
	}
	switch v := v.(type) {
	case int64:
		return v, nil
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, r.Fail(fmt.Sprintf("column %q holds %s, not an integer", column, kindOf(v)), "")
}

// Map returns the row by column name.
func (r Row) Map() map[string]any {
	m := make(map[string]any, len(r.Columns))
	for i, c := range r.Columns {
		m[c] = r.Values[i]
	}
	return m
}

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return fmt.Sprintf("the string %.40q", v)
	case int64, float64:
		return fmt.Sprintf("the number %v", v)
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	case json.RawMessage:
		return kindOf(plain(v))
	}
	return fmt.Sprintf("%T", v)
}

// RowOptions say how a file without names of its own is read.
type RowOptions struct {
	// Names are the columns of a CSV or TSV file whose first line is a row
	// already, as in MMLU's original files. Nil: the first line has the names.
	Names []string
	// Raw leaves lists and objects in the rows of JSON files as they are written,
	// json.RawMessage: what they hold keeps its order.
	Raw bool
}

// maxRow bounds the bytes of one row of a text format: a missing quote or line
// end must not bring a whole file into memory.
const maxRow = 256 << 20

// Rows reads the rows of a file, by its name:
//
//   - .json: a list of objects, or one object after another
//   - .jsonl, .ndjson: one object a line; blank lines are passed over
//   - .csv, .tsv: the first line has the names, see RowOptions; every value is
//     a string, and a line end inside quotes is \n
//   - .parquet: lists become []any, structs and maps map[string]any; bytes that
//     no annotation calls text are a string where they are valid UTF-8, else
//     []byte; dates and times are text in RFC 3339, decimals float64
//   - .txt, .raw, .lst, .md, and files without an extension: one row a line, with
//     one column, "text"; line ends \r\n and \r are \n, as Python reads them
//
// each but Parquet also as .gz or .zst. A string where an object is expected
// is a row with the column "text". Text must be valid UTF-8; a byte order mark
// at the start is not part of it.
//
// The file is read as the rows are asked for, holding little more than one row
// (Parquet: one page of every column). The first error, an *Error wherever the
// file's content is to blame, ends the sequence. A file without rows gives none
// and is no error. Each range over the sequence opens and closes the file.
func Rows(path string, opt RowOptions) iter.Seq2[Row, error] {
	return rows(path, opt, maxRow)
}

func rows(path string, opt RowOptions, limit int) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		kind, packed := formatOf(path)
		read, ok := readers()[kind]
		switch {
		case !ok:
			yield(Row{}, unknownFormat(path, kind))
		case kind == ".parquet" && packed != "":
			yield(Row{}, &Error{Path: path, What: "a Parquet file inside " + packed, Remedy: "unpack it: Parquet is compressed inside, and read from its end"})
		default:
			if err := read(source{path, limit, opt}, func(r Row) bool { return yield(r, nil) }); err != nil {
				yield(Row{}, err)
			}
		}
	}
}

// source is a file to read.
type source struct {
	path  string
	limit int // bytes of a row
	opt   RowOptions
}

// reader gives the rows of a source to yield until that returns false; then,
// and at the end of the file, it returns nil.
type reader func(s source, yield func(Row) bool) error

func readers() map[string]reader {
	return map[string]reader{
		".json": readJSON, ".jsonl": readLines, ".ndjson": readLines,
		".csv": readCSV, ".tsv": readCSV, ".parquet": readParquet,
		".txt": readText, ".raw": readText, ".lst": readText, ".md": readText, "": readText,
	}
}

// Formats lists the file name extensions that Rows knows, without .gz and .zst.
func Formats() []string {
	return []string{".txt", ".json", ".jsonl", ".csv", ".tsv", ".parquet", ".ndjson", ".raw", ".lst"}
}

// HasFields reports whether a file of this name can have columns.
func HasFields(path string) bool { kind, _ := formatOf(path); return !isText(kind) }

func isText(kind string) bool {
	return kind == ".txt" || kind == ".raw" || kind == ".lst" || kind == ".md" || kind == ""
}

// formatOf splits the extensions off a name: "a.jsonl.gz" is ".jsonl", ".gz".
func formatOf(path string) (kind, packed string) {
	name := strings.ToLower(path)
	if ext := filepath.Ext(name); ext == ".gz" || ext == ".zst" {
		packed = ext
		name = strings.TrimSuffix(name, ext)
	}
	return filepath.Ext(name), packed
}

func unknownFormat(path, kind string) error {
	return &Error{Path: path, What: fmt.Sprintf("unknown kind of file %q", kind), Remedy: "valid ones: " + strings.Join(Formats(), ", ") + ", also as .gz or .zst"}
}
