package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
)

// parquetFile writes rows in groups of groupRows.
func parquetFile[T any](t testing.TB, groupRows int64, rows []T, options ...parquet.WriterOption) []byte {
	t.Helper()
	var out bytes.Buffer
	w := parquet.NewGenericWriter[T](&out, append(options, parquet.MaxRowsPerRowGroup(groupRows))...)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// question has the shapes of the benchmarks' columns.
type question struct {
	Ind     int32    `parquet:"ind"`
	Query   string   `parquet:"query,dict"`
	Endings []string `parquet:"endings,list"`
	Choices struct {
		Text  []string `parquet:"text,list"`
		Label []string `parquet:"label,list"`
	} `parquet:"choices"`
	Label *int64 `parquet:"label,optional"`
}

func TestParquetShapes(t *testing.T) {
	type m = map[string]any
	one := int64(1)
	a := question{Ind: 24, Query: "how?", Endings: []string{"p", "q", "r"}, Label: &one}
	a.Choices.Text, a.Choices.Label = []string{"yes", "no"}, []string{"A", "B"}
	b := question{Ind: -1, Query: "時"}
	want := []m{
		{"ind": int64(24), "query": "how?", "endings": []any{"p", "q", "r"}, "choices": m{"text": []any{"yes", "no"}, "label": []any{"A", "B"}}, "label": int64(1)},
		{"ind": int64(-1), "query": "時", "endings": []any{}, "choices": m{"text": []any{}, "label": []any{}}, "label": nil},
		{"ind": int64(24), "query": "how?", "endings": []any{"p", "q", "r"}, "choices": m{"text": []any{"yes", "no"}, "label": []any{"A", "B"}}, "label": int64(1)},
	}
	for name, option := range map[string]parquet.WriterOption{
		"plain":  parquet.Compression(&parquet.Uncompressed),
		"snappy": parquet.Compression(&parquet.Snappy),
		"zstd":   parquet.Compression(&parquet.Zstd),
		"gzip":   parquet.Compression(&parquet.Gzip),
		"v1":     parquet.DataPageVersion(1),
		"brotli": parquet.Compression(&parquet.Brotli),
		"lz4":    parquet.Compression(&parquet.Lz4Raw),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := collect(write(t, "a.parquet", string(parquetFile(t, 2, []question{a, b, a}, option))), RowOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParquetTypes(t *testing.T) {
	type m = map[string]any
	type nested struct {
		Deep   [][]int32                     `parquet:"deep,list"`
		Maybe  []*string                     `parquet:"maybe,list"`
		Old    []float32                     `parquet:"old"` // repeated, without annotation
		Scores map[string]float64            `parquet:"scores"`
		Turns  []struct{ Role, Text string } `parquet:"turns,list"`
	}
	s := "s"
	for _, c := range []struct {
		name string
		file []byte
		want []m
	}{
		{name: "numbers", file: parquetFile(t, 10, []struct {
			B  bool    `parquet:"b"`
			F  float32 `parquet:"f"`
			D  float64 `parquet:"d"`
			U  uint32  `parquet:"u"`
			UU uint64  `parquet:"uu"`
			I8 int8    `parquet:"i8"`
			M  int64   `parquet:"m,decimal(2:18)"`
		}{{true, 0.5, math.Pi, math.MaxUint32, 7, -8, -1234}, {UU: math.MaxUint64}}),
			want: []m{
				{"b": true, "f": 0.5, "d": math.Pi, "u": int64(math.MaxUint32), "uu": int64(7), "i8": int64(-8), "m": -12.34},
				{"b": false, "f": 0.0, "d": 0.0, "u": int64(0), "uu": float64(math.MaxUint64), "i8": int64(0), "m": 0.0}}},
		{name: "times", file: parquetFile(t, 10, []struct {
			D   int32            `parquet:"d,date"`
			T   time.Time        `parquet:"t,timestamp(millisecond)"`
			I96 deprecated.Int96 `parquet:"i"`
		}{{-1, time.UnixMilli(-1), deprecated.Int96{1_000_000_000, 0, 2440589}}}),
			want: []m{{"d": "1969-12-31", "t": "1969-12-31T23:59:59.999Z", "i": "1970-01-02T00:00:01Z"}}},
		{name: "bytes", file: parquetFile(t, 10, []struct {
			B []byte `parquet:"b"`
		}{{[]byte("text")}, {[]byte{0xff, 0}}}), want: []m{{"b": "text"}, {"b": []byte{0xff, 0}}}},
		{name: "nested", file: parquetFile(t, 10, []nested{
			{Deep: [][]int32{{1, 2}, {}, {3}}, Maybe: []*string{nil, &s}, Old: []float32{1, 2}, Scores: map[string]float64{"x": 1, "y": 2}, Turns: []struct{ Role, Text string }{{"u", "hi"}, {"a", "ho"}}}, {}}),
			want: []m{
				{"deep": []any{[]any{int64(1), int64(2)}, []any{}, []any{int64(3)}}, "maybe": []any{nil, "s"}, "old": []any{1.0, 2.0}, "scores": m{"x": 1.0, "y": 2.0}, "turns": []any{m{"Role": "u", "Text": "hi"}, m{"Role": "a", "Text": "ho"}}},
				{"deep": []any{}, "maybe": []any{}, "old": []any{}, "scores": m{}, "turns": []any{}}}},
		{name: "no rows", file: parquetFile(t, 10, []question{})},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := collect(write(t, "a.parquet", string(c.file)), RowOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHalf(t *testing.T) {
	for bits, want := range map[uint16]float64{0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x0001: math.Ldexp(1, -24), 0x0400: math.Ldexp(1, -14), 0xfc00: math.Inf(-1), 0: 0} {
		if got := half(bits); got != want {
			t.Errorf("half(%#x) = %v, want %v", bits, got, want)
		}
	}
}

type textRow struct {
	Text string `parquet:"text"`
}

func textRows(n int) []textRow {
	rows := make([]textRow, n)
	for i := range rows {
		rows[i].Text = fmt.Sprintf("text number %d %s", i, strings.Repeat("word ", i%50))
	}
	return rows
}

func TestParquetDamaged(t *testing.T) {
	whole := parquetFile(t, 100, textRows(1000))
	huge := bytes.Clone(whole)
	binary.LittleEndian.PutUint32(huge[len(huge)-8:], math.MaxUint32)
	cutBody := append(bytes.Clone(whole[:200]), whole[len(whole)-2000:]...)
	latin := parquetFile(t, 100, []textRow{{"ok"}, {"caf\xe9"}})
	for _, c := range []struct {
		name, err string
		file      []byte
	}{
		{name: "empty", err: "too short for a Parquet file", file: nil},
		{name: "not Parquet", err: "no PAR1 at its end", file: []byte("a file of something else")},
		{name: "cut short", err: "no PAR1 at its end", file: whole[:len(whole)/2]},
		{name: "footer longer than the file", err: "the footer claims 4294967295 bytes", file: huge},
		{name: "middle missing", err: "", file: cutBody},
		{name: "not UTF-8", err: `row group 0, row 1: column "text": not valid UTF-8`, file: latin},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, "a.parquet", string(c.file))
			_, err := collect(path, RowOptions{})
			if err == nil {
				t.Fatal("no error")
			}
			if c.err == "" {
				c.err = path
			}
			checkError(t, err, path, c.err)
		})
	}
}

// TestParquetBits flips bits all over a file: rows or an error that names the
// file, never a panic.
func TestParquetBits(t *testing.T) {
	whole := parquetFile(t, 20, textRows(60))
	for at := 0; at < len(whole); at += 7 {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 1 << (at % 8)
		err := parquetRows("f.parquet", bytes.NewReader(damaged), int64(len(damaged)), func(Row) bool { return true })
		if err != nil && !strings.HasPrefix(err.Error(), "f.parquet: ") {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
}

func FuzzParquet(f *testing.F) {
	f.Add(parquetFile(f, 2, textRows(5)))
	f.Add(parquetFile(f, 2, []question{{Endings: []string{"a"}}, {}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		err := parquetRows("f.parquet", bytes.NewReader(raw), int64(len(raw)), func(r Row) bool { return len(r.Values) == len(r.Columns) })
		if err != nil && !strings.HasPrefix(err.Error(), "f.parquet: ") {
			t.Fatalf("error without the file's name: %v", err)
		}
	})
}

// TestParquetStops reads across row groups and leaves in the middle.
func TestParquetStops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.parquet")
	if err := os.WriteFile(path, parquetFile(t, 100, textRows(1000)), 0o666); err != nil {
		t.Fatal(err)
	}
	n := 0
	for row, err := range Rows(path, RowOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("row group %d, row %d", n/100, n%100); row.at.String() != want {
			t.Fatalf("row %d is at %s, want %s", n, row.at, want)
		}
		if n++; n == 250 {
			break
		}
	}
}

// TestParquetMessages: conversations are lists of structs in which every message has
// every member, null where it has none.
func TestParquetMessages(t *testing.T) {
	type call struct {
		Name string `parquet:"name"`
	}
	type message struct {
		Role    *string `parquet:"role,optional"`
		Content *string `parquet:"content,optional"`
		Calls   []call  `parquet:"tool_calls,optional,list"`
		Name    *string `parquet:"name,optional"`
	}
	type row struct {
		Messages []message `parquet:"messages,list"`
		Source   *string   `parquet:"source,optional"`
	}
	say := func(role, content string) message { return message{Role: &role, Content: &content} }
	call1 := say("assistant", "")
	call1.Content, call1.Calls = nil, []call{{"look"}}
	null := say("user", "")
	null.Content = nil
	path := filepath.Join(t.TempDir(), "a.parquet")
	raw := parquetFile(t, 10, []row{
		{Messages: []message{say("user", "u"), call1, say("tool", "seen"), say("assistant", "a")}},
		{Messages: []message{null, say("assistant", "a")}},
	})
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	var got []string
	for r, err := range Rows(path, RowOptions{Raw: true}) {
		if err != nil {
			t.Fatal(err)
		}
		x, err := SchemaMessages.Read(r, nil)
		for _, turn := range x.Turns {
			got = append(got, fmt.Sprintf("%s %s %s", turn.Role, turn.Content, turn.More))
		}
		if err != nil {
			got = append(got, err.Error())
		}
	}
	want := []string{
		"user u ", `assistant  {"content":null,"tool_calls":[{"name":"look"}]}`, "tool seen ", "assistant a ",
		path + `: row group 0, row 1: messages[0].content holds null, not a text; only a call of tools has no text: remove the row, or write ""`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestParquetParts: contents that are lists of parts are refused by their place.
func TestParquetParts(t *testing.T) {
	type part struct {
		Text string `parquet:"text"`
	}
	type message struct {
		Role    string `parquet:"role"`
		Content []part `parquet:"content,list"`
	}
	type row struct {
		Messages []message `parquet:"messages,list"`
	}
	path := filepath.Join(t.TempDir(), "a.parquet")
	if err := os.WriteFile(path, parquetFile(t, 10, []row{{Messages: []message{{"user", []part{{"u"}}}}}}), 0o600); err != nil {
		t.Fatal(err)
	}
	for r, err := range Rows(path, RowOptions{Raw: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := SchemaMessages.Read(r, nil); err == nil || !strings.Contains(err.Error(), "row 0: messages[0].content holds a list, not a text") {
			t.Errorf("%v", err)
		}
	}
}
