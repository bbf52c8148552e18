package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/coppice-ml/coppice/internal/mmap"
)

// batchRows is how many rows are decoded at a time.
const batchRows = 64

// readParquet reads row group after row group.
func readParquet(s source, yield func(Row) bool) error {
	f, stat, err := mmap.OpenRegular(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	return parquetRows(s.path, f, stat.Size(), yield)
}

func parquetRows(path string, r io.ReaderAt, size int64, yield func(Row) bool) error {
	return limitedParquetRows(path, r, size, defaultPageLimits(), yield)
}

func limitedParquetRows(path string, r io.ReaderAt, size int64, limits pageLimits, yield func(Row) bool) error {
	f, err := openParquet(path, r, size)
	if err != nil {
		return err
	}
	t, err := parquetTable(path, f)
	if err != nil {
		return err
	}
	t.file, t.limits = r, limits
	for g, group := range f.RowGroups() {
		if err := t.checkPages(g, f.Metadata().RowGroups[g].Columns); err != nil {
			return err
		}
		more, err := t.group(g, group, yield)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

const refetch = "fetch the file again"

// openParquet reads the footer, after checking what the library would trust.
func openParquet(path string, r io.ReaderAt, size int64) (f *parquet.File, err error) {
	fail := func(what string) error { return &Error{Path: path, What: what, Remedy: refetch} }
	tail := make([]byte, 8)
	if size < 12 {
		return nil, fail("too short for a Parquet file")
	}
	if _, err := r.ReadAt(tail, size-8); err != nil {
		return nil, err
	}
	if string(tail[4:]) != "PAR1" {
		return nil, fail("not a Parquet file, or cut short: no PAR1 at its end")
	}
	if n := int64(binary.LittleEndian.Uint32(tail)); n > size-12 {
		return nil, fail(fmt.Sprintf("the footer claims %d bytes of a file of %d", n, size))
	}
	defer caught(&err, fail)
	f, err = parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fail("damaged footer: " + err.Error())
	}
	return f, checkChunks(f, fail)
}

// caught makes an error of a panic: the library has some for damaged files.
func caught(err *error, fail func(string) error) {
	if p := recover(); p != nil {
		*err = fail(fmt.Sprintf("damaged: %v", p))
	}
}

// checkChunks refuses column chunks outside the file.
func checkChunks(f *parquet.File, fail func(string) error) error {
	for g, group := range f.Metadata().RowGroups {
		if group.NumRows < 0 {
			return fail(fmt.Sprintf("row group %d claims %d rows", g, group.NumRows))
		}
		for _, c := range group.Columns {
			m := c.MetaData
			start := m.DataPageOffset
			if m.DictionaryPageOffset > 0 {
				start = min(start, m.DictionaryPageOffset)
			}
			if start < 4 || m.TotalCompressedSize < 0 || m.TotalCompressedSize > f.Size()-start {
				return fail(fmt.Sprintf("row group %d: column %v is said to take %d bytes at %d, outside the file's %d", g, m.PathInSchema, m.TotalCompressedSize, start, f.Size()))
			}
		}
	}
	return nil
}

// table makes rows of what the columns of a Parquet file hold.
type table struct {
	path    string
	names   []string
	columns []*column
	leaves  int
	levels  []levels // of each leaf
	file    io.ReaderAt
	limits  pageLimits
}

func parquetTable(path string, f *parquet.File) (*table, error) {
	t := &table{path: path, levels: leafLevels(f.Root(), levels{})}
	for _, c := range f.Root().Columns() {
		if slices.Contains(t.names, c.Name()) {
			return nil, &Error{Path: path, What: fmt.Sprintf("two columns are called %q", c.Name())}
		}
		t.names = append(t.names, c.Name())
		t.columns = append(t.columns, newColumn(c, &t.leaves))
	}
	return t, nil
}

// group reads one row group; more is false where yield wants no more.
func (t *table) group(g int, group parquet.RowGroup, yield func(Row) bool) (more bool, err error) {
	fail := func(what string) error {
		return &Error{Path: t.path, Where: fmt.Sprintf("row group %d", g), What: what, Remedy: refetch}
	}
	rows, err := t.open(group, fail)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	batch := make([]parquet.Row, batchRows)
	for n := 0; ; {
		got, end, err := readBatch(rows, batch, fail)
		if err != nil {
			return false, err
		}
		for _, values := range batch[:got] {
			row := Row{Columns: t.names, at: place{t.path, "row", n, g}}
			if row.Values, err = t.row(values, row); err != nil {
				return false, err
			}
			if !yield(row) {
				return false, nil
			}
			n++
		}
		if end && int64(n) < group.NumRows() {
			return false, fail(fmt.Sprintf("ends after %d of %d rows", n, group.NumRows()))
		}
		if end {
			return true, nil
		}
	}
}

func (t *table) open(group parquet.RowGroup, fail func(string) error) (rows parquet.Rows, err error) {
	defer caught(&err, fail)
	return group.Rows(), nil
}

func readBatch(rows parquet.Rows, batch []parquet.Row, fail func(string) error) (n int, end bool, err error) {
	defer caught(&err, fail)
	n, err = rows.ReadRows(batch)
	switch {
	case errors.Is(err, io.EOF):
		return n, true, nil
	case err != nil:
		return 0, false, fail("damaged: " + err.Error())
	case n == 0:
		return 0, false, fail("damaged: no more rows, and no end")
	}
	return n, false, nil
}

// row assembles a row from the values of its leaves, which come one leaf after
// the other.
func (t *table) row(values parquet.Row, row Row) (out []any, err error) {
	defer caught(&err, func(what string) error { return row.Fail(what, refetch) })
	leaves := make([][]parquet.Value, t.leaves)
	values.Range(func(i int, v []parquet.Value) bool {
		leaves[i] = v
		return true
	})
	for i, v := range leaves {
		if len(v) == 0 {
			return nil, row.Fail(fmt.Sprintf("leaf column %d has no value", i), refetch)
		}
	}
	for i, c := range t.columns {
		v, ok := c.value(leaves[c.first:c.first+c.leaves], 0, 0)
		if !ok {
			return nil, row.Fail(fmt.Sprintf("column %q: %s", t.names[i], notUTF8), toUTF8)
		}
		out = append(out, v)
	}
	return out, nil
}

// column is a node of the schema.
type column struct {
	name          string
	optional      bool
	repeated      bool
	list          bool // children[0] is repeated and holds the elements
	mapping       bool // children[0] is repeated and holds keys and values
	bare          bool // the child of a list whose one child is the element
	first, leaves int  // which leaves of the row are below this node
	children      []*column
	leaf          func(parquet.Value) (v any, ok bool)
}

func newColumn(c *parquet.Column, leaves *int) *column {
	out := &column{name: c.Name(), optional: c.Optional(), repeated: c.Repeated(), first: *leaves}
	if c.Leaf() {
		*leaves++
		out.leaves = 1
		out.leaf = leafOf(c.Type())
		return out
	}
	for _, child := range c.Columns() {
		out.children = append(out.children, newColumn(child, leaves))
	}
	out.leaves = *leaves - out.first
	out.annotate(c)
	return out
}

// annotate recognises lists and maps, by the rules of the format's
// LogicalTypes.md, backward compatibility included.
func (c *column) annotate(node *parquet.Column) {
	logical := node.Type().LogicalType()
	if logical == nil || len(c.children) != 1 || !c.children[0].repeated {
		return
	}
	inner := c.children[0]
	switch logical.Value.(type) {
	case *format.ListType:
		c.list = true
		inner.bare = len(inner.children) == 1 && inner.name != "array" && inner.name != c.name+"_tuple"
	case *format.MapType:
		c.mapping = len(inner.children) == 2
	}
}

// value assembles one instance of c from the values of its leaves, where its
// parent stands at the repetition and definition levels rep and def. It is not
// ok where text is not UTF-8.
func (c *column) value(leaves [][]parquet.Value, rep, def int) (any, bool) {
	switch {
	case c.repeated:
		return c.items(leaves, rep+1, def+1)
	case c.optional:
		def++
		if leaves[0][0].DefinitionLevel() < def {
			return nil, true
		}
	}
	return c.one(leaves, rep, def)
}

// items assembles the instances of a repeated node.
func (c *column) items(leaves [][]parquet.Value, rep, def int) (any, bool) {
	items := []any{}
	if leaves[0][0].DefinitionLevel() < def {
		return items, true
	}
	rest := slices.Clone(leaves)
	part := make([][]parquet.Value, len(leaves))
	for len(rest[0]) > 0 {
		for i, values := range rest {
			n := 1
			for n < len(values) && values[n].RepetitionLevel() > rep {
				n++
			}
			part[i], rest[i] = values[:n], values[n:]
		}
		item, ok := c.one(part, rep, def)
		if !ok {
			return nil, false
		}
		items = append(items, item)
	}
	return items, true
}

// one assembles an instance that is there.
func (c *column) one(leaves [][]parquet.Value, rep, def int) (any, bool) {
	switch {
	case c.leaf != nil:
		return c.leaf(leaves[0][0])
	case c.list, c.bare:
		return c.children[0].value(leaves, rep, def)
	case c.mapping:
		return c.entries(leaves, rep, def)
	}
	object := make(map[string]any, len(c.children))
	for _, child := range c.children {
		at := child.first - c.first
		v, ok := child.value(leaves[at:at+child.leaves], rep, def)
		if !ok {
			return nil, false
		}
		object[child.name] = v
	}
	return object, true
}

// entries makes an object of a map, with its keys as text.
func (c *column) entries(leaves [][]parquet.Value, rep, def int) (any, bool) {
	pairs, ok := c.children[0].value(leaves, rep, def)
	if !ok {
		return nil, false
	}
	object := map[string]any{}
	key, value := c.children[0].children[0].name, c.children[0].children[1].name
	for _, pair := range pairs.([]any) {
		pair := pair.(map[string]any)
		object[fmt.Sprint(pair[key])] = pair[value]
	}
	return object, true
}

func text8(b []byte) (any, bool) { return string(b), utf8.Valid(b) }
