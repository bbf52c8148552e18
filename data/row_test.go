package data

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/coppice-ml/coppice/internal/testkit"
)

// collect returns what Rows gives before the first error.
func collect(path string, opt RowOptions) ([]map[string]any, error) {
	var all []map[string]any
	for row, err := range Rows(path, opt) {
		if err != nil {
			return all, err
		}
		all = append(all, row.Map())
	}
	return all, nil
}

func TestRows(t *testing.T) {
	type m = map[string]any
	list := []m{{"a": int64(1), "b": "x"}, {"a": nil, "b": true}}
	for _, c := range []struct {
		name, file, content string
		names               []string
		want                []m
		err                 string
	}{
		{name: "list", file: "a.json", content: `[{"a": 1, "b": "x"}, {"a": null, "b": true}]`, want: list},
		{name: "one after another", file: "a.json", content: "{\"a\": 1, \"b\": \"x\"}\n{\"a\": null, \"b\": true}\n", want: list},
		{name: "lines", file: "a.jsonl", content: "{\"a\": 1, \"b\": \"x\"}\r\n\n {\"a\": null, \"b\": true}", want: list},
		{name: "ndjson", file: "a.ndjson", content: "{\"a\": 1, \"b\": \"x\"}\n{\"a\": null, \"b\": true}", want: list},
		{name: "byte order mark", file: "a.json", content: "\ufeff[{\"a\": 1}]", want: []m{{"a": int64(1)}}},
		{name: "byte order mark before lines", file: "a.jsonl", content: "\ufeff{\"a\": 1}\n", want: []m{{"a": int64(1)}}},
		{name: "UTF-16", file: "a.jsonl", content: "\xff\xfe{\x00", err: "a.jsonl: it is UTF-16, as its byte order mark says; convert the file to UTF-8"},
		{name: "UTF-16, big end first", file: "a.csv", content: "\xfe\xff\x00a", err: "it is UTF-16"},
		{name: "integers and fractions", file: "a.json", content: `[{"a": -9223372036854775808, "b": 1.0, "c": 1e2, "d": 9223372036854775808, "e": -0}]`,
			want: []m{{"a": int64(-9223372036854775808), "b": 1.0, "c": 100.0, "d": 9223372036854775808.0, "e": int64(0)}}},
		{name: "nested", file: "a.jsonl", content: `{"c": {"text": ["p", "q"], "n": [[], [1, 2.5]]}, "e": {}}`,
			want: []m{{"c": m{"text": []any{"p", "q"}, "n": []any{[]any{}, []any{int64(1), 2.5}}}, "e": m{}}}},
		{name: "escapes", file: "a.jsonl", content: `{"a\n": "\ud83d\ude00\u00e9"}`, want: []m{{"a\n": "😀é"}}},
		{name: "comma", file: "a.csv", content: ",Q,A\r\n0,\"x, \"\"y\"\"\r\nz\",B\r\n\r\n1,, C \r\n", want: []m{{"": "0", "Q": "x, \"y\"\nz", "A": "B"}, {"": "1", "Q": "", "A": " C "}}},
		{name: "comma, no names", file: "a.csv", content: "q,1\nr,2\n", names: []string{"question", "answer"}, want: []m{{"question": "q", "answer": "1"}, {"question": "r", "answer": "2"}}},
		{name: "byte order mark before names", file: "a.csv", content: "\ufeffa\n1\n", want: []m{{"a": "1"}}},
		{name: "tab", file: "a.tsv", content: "a\tb\n1,5\t2\n", want: []m{{"a": "1,5", "b": "2"}}},
		{name: "text", file: "a.txt", content: "one\r\n\ntwo", want: []m{{"text": "one"}, {"text": ""}, {"text": "two"}}},
		{name: "labels", file: "valid-labels.lst", content: "0\n1\n", want: []m{{"text": "0"}, {"text": "1"}}},
		{name: "nothing", file: "a.json", content: "", want: nil},
		{name: "no lines", file: "a.jsonl", content: "\n\n", want: nil},
		{name: "empty list", file: "a.json", content: " [ ] ", want: nil},
		{name: "names alone", file: "a.csv", content: "a,b\n", want: nil},

		{name: "list cut", file: "a.json", content: `[{"a": 1}, {"a"`, want: []m{{"a": int64(1)}}, err: "byte 15: not JSON: unexpected EOF"},
		{name: "list not closed", file: "a.json", content: `[{"a": 1}`, want: []m{{"a": int64(1)}}, err: "unexpected EOF"},
		{name: "more after the list", file: "a.json", content: `[{"a": 1}] {}`, want: []m{{"a": int64(1)}}, err: "has more after the list"},
		{name: "numbers", file: "a.json", content: `[1]`, err: "item 0: neither a string nor an object"},
		{name: "lists", file: "a.jsonl", content: "[1]\n", err: "line 1: neither a string nor an object"},
		{name: "no comma", file: "a.json", content: `[{"a": 1} {"a": 2}]`, want: []m{{"a": int64(1)}}, err: "byte 10: not JSON"},
		{name: "twice the same name", file: "a.jsonl", content: `{"a": 1, "a": 2}`, err: `line 1: not JSON: duplicate object member name`},
		{name: "line cut", file: "a.jsonl", content: "{\"a\": 1}\n{\"a\": \"x", want: []m{{"a": int64(1)}}, err: "line 2: not JSON: unexpected EOF"},
		{name: "two on a line", file: "a.jsonl", content: `{"a": 1} {"a": 2}`, err: "line 1: has more after the object"},
		{name: "half a surrogate pair", file: "a.jsonl", content: `{"a": "\ud83d"}`, err: "line 1: not JSON: invalid surrogate pair"},
		{name: "not a number", file: "a.jsonl", content: `{"a": NaN}`, err: "line 1: not JSON"},
		{name: "number beyond float64", file: "a.jsonl", content: `{"a": 1e999}`, err: "line 1: "},
		{name: "fields missing", file: "a.csv", content: "a,b\n1,2\n3\n", want: []m{{"a": "1", "b": "2"}}, err: "line 3: has 1 fields, want 2 (a, b)"},
		{name: "fields too many", file: "a.csv", content: "a,b\n1,2,3\n", err: "line 2: has 3 fields, want 2 (a, b)"},
		{name: "quote not closed", file: "a.csv", content: "a\n\"x\n", err: "line 2: extraneous or missing \" in quoted-field"},
		{name: "column twice", file: "a.csv", content: "a,b,a\n", err: `line 1: two columns are called "a"`},
		{name: "not UTF-8 in a field", file: "a.csv", content: "a,b\n1,\xff\n", err: "line 2: field 1: not valid UTF-8"},
		{name: "not UTF-8 in a text", file: "a.txt", content: "a\n\xff\n", want: []m{{"text": "a"}}, err: "line 2: not valid UTF-8"},
		{name: "unknown", file: "a.xlsx.gz", content: "", err: `unknown kind of file ".xlsx"`},
		{name: "parquet, packed", file: "a.parquet.gz", content: "", err: "a Parquet file inside .gz"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.file, c.content)
			got, err := collect(path, RowOptions{Names: c.names})
			checkError(t, err, path, c.err)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRowColumns(t *testing.T) {
	path := write(t, "a.jsonl", `{"z": "1", "a": 7, "m": 1.5, "s": "7"}`)
	for row, err := range Rows(path, RowOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"z", "a", "m", "s"}, row.Columns); diff != "" {
			t.Errorf("columns are not in the file's order:\n%s", diff)
		}
		for _, column := range []string{"a", "s"} {
			if n, err := row.Int(column); n != 7 || err != nil {
				t.Errorf("%s: %d, %v", column, n, err)
			}
		}
		_, err = row.Int("m")
		checkError(t, err, path, `line 1: column "m" holds the number 1.5, not an integer`)
		_, err = row.Text("a")
		checkError(t, err, path, `line 1: column "a" holds the number 7, not a string`)
		_, err = row.Value("q")
		checkError(t, err, path, `line 1: has no column "q" (it has: z, a, m, s)`)
	}
}

// pack compresses content by the name's extension.
func pack(t testing.TB, name string, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	if strings.HasSuffix(name, ".zst") {
		w, _ = zstd.NewWriter(&out)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestPacked(t *testing.T) {
	lines := []byte(strings.Repeat("{\"a\": \"some text that repeats\"}\n", 5000))
	for _, name := range []string{"a.jsonl.gz", "a.jsonl.zst", "A.JSONL.GZ"} {
		t.Run(name, func(t *testing.T) {
			packed := pack(t, strings.ToLower(name), lines)
			got, err := collect(write(t, name, string(packed)), RowOptions{})
			if err != nil || len(got) != 5000 {
				t.Fatalf("%d rows, %v", len(got), err)
			}
			path := write(t, name, string(packed[:len(packed)-5]))
			_, err = collect(path, RowOptions{})
			checkError(t, err, path, "the packed file is cut short")
			path = write(t, name, "no such magic")
			_, err = collect(path, RowOptions{})
			checkError(t, err, path, "cannot be unpacked")
			damaged := bytes.Clone(packed)
			for i := range damaged[20:] {
				damaged[20+i] ^= 0x55
			}
			path = write(t, name, string(damaged))
			_, err = collect(path, RowOptions{})
			checkError(t, err, path, ": ")
		})
	}
	for _, name := range []string{"a.json.gz", "a.csv.zst", "a.txt.gz"} {
		path := write(t, name, string(pack(t, name, nil)[:5]))
		_, err := collect(path, RowOptions{})
		checkError(t, err, path, "the packed file is cut short")
	}
}

// TestRowLimit: what should be rows but never ends is refused, also unpacked.
func TestRowLimit(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, content := range map[string]string{
		"a.jsonl":     `{"a": "` + long,
		"a.json":      `[{"a": "` + long,
		"a.csv":       "a\n\"" + long,
		"a.txt":       long,
		"a.jsonl.gz":  string(pack(t, ".gz", []byte(long))),
		"a.jsonl.zst": string(pack(t, ".zst", []byte(long))),
	} {
		path := write(t, name, content)
		var err error
		for _, err = range rows(path, RowOptions{}, 100_000) {
		}
		checkError(t, err, path, "a row is longer than 100000 bytes")
	}
	path := write(t, "a.jsonl", strings.Repeat("{\"a\": 1}\n", 100_000))
	n := 0
	for _, err := range rows(path, RowOptions{}, 100_000) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 100_000 {
		t.Errorf("%d rows: the limit is for each", n)
	}
}

func TestRowsStop(t *testing.T) {
	for _, name := range []string{"a.json", "a.jsonl", "a.csv", "a.txt"} {
		path := write(t, name, "\"a\"\n\"b\"\n\"c\"\n")
		n := 0
		for range Rows(path, RowOptions{}) {
			n++
			break
		}
		if n != 1 {
			t.Errorf("%s: %d rows after a break", name, n)
		}
	}
	_, err := collect(filepath.Join(t.TempDir(), "none.jsonl"), RowOptions{})
	if !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}

// TestSharedFiles reads every real file there is.
func TestSharedFiles(t *testing.T) {
	counts := map[string]int{
		"benchmarks/piqa/plain_text/validation.jsonl":               1838,
		"benchmarks/piqa_original/valid.jsonl":                      1838,
		"benchmarks/piqa_original/valid-labels.lst":                 1838,
		"benchmarks/winogrande/winogrande_xl/validation.jsonl":      1267,
		"benchmarks/ai2_arc/ARC-Easy/test.jsonl":                    2376,
		"benchmarks/ai2_arc/ARC-Challenge/test.jsonl":               1172,
		"benchmarks/openbookqa/main/test.jsonl":                     500,
		"benchmarks/hellaswag_subset_preprocessed/val_subset.jsonl": 1000,
		"instruct/alpaca_en_demo.json":                              999,
	}
	mmlu, cmmlu, files := 0, 0, 0
	root := testkit.Shared(t, "data")
	for _, folder := range []string{"benchmarks", "text", "instruct"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d os.DirEntry, err error) error {
			name, _ := filepath.Rel(root, path)
			if err != nil || d.IsDir() || filepath.Ext(path) == "" || strings.HasSuffix(path, "-res.json") {
				return err // the known answers are no data
			}
			opt := RowOptions{}
			if filepath.Base(path) == "mmlu_cmmlu_descriptions.tsv" {
				opt.Names = []string{"set", "subject", "group", "description"}
			}
			got, err := collect(path, opt)
			if err != nil || len(got) == 0 {
				t.Errorf("%s: %d rows, %v", name, len(got), err)
			}
			if want, ok := counts[filepath.ToSlash(name)]; ok && want != len(got) {
				t.Errorf("%s: %d rows, want %d", name, len(got), want)
			}
			switch {
			case strings.Contains(name, "mmlu_no_train") && strings.HasSuffix(name, "test.jsonl"):
				mmlu += len(got)
			case strings.Contains(name, filepath.Join("cmmlu", "data", "test")):
				cmmlu += len(got)
			}
			files++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if mmlu != 14042 || cmmlu != 11582 || files < 300 {
		t.Errorf("MMLU %d, CMMLU %d rows in %d files, want 14042, 11582", mmlu, cmmlu, files)
	}
}

func FuzzRows(f *testing.F) {
	for i, s := range []string{"[{\"a\": 1}]", "{\"a\": [1, {\"b\": null}]}\n", "a,b\n1,\"2\"\n", "a\tb\n", "x\ny"} {
		f.Add([]byte(s), byte(i))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte, kind byte) {
		kinds := []string{"f.json", "f.jsonl", "f.csv", "f.tsv", "f.txt", "f.jsonl.gz", "f.jsonl.zst"}
		name := kinds[int(kind)%len(kinds)]
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, raw, 0o666); err != nil {
			t.Fatal(err)
		}
		for row, err := range rows(path, RowOptions{}, 1<<16) {
			if err != nil && !strings.HasPrefix(err.Error(), path+": ") {
				t.Fatalf("error without the file's name: %v", err)
			}
			if err == nil && len(row.Columns) != len(row.Values) {
				t.Fatalf("%d columns, %d values", len(row.Columns), len(row.Values))
			}
		}
	})
}

// TestRowsStream: a file is not held in memory.
func TestRowsStream(t *testing.T) {
	line := `{"text": "` + strings.Repeat("some words ", 1000) + "\"}\n"
	const lines = 5000 // 55 MB
	path := write(t, "a.jsonl.zst", string(pack(t, ".zst", []byte(strings.Repeat(line, lines)))))
	held := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most, n := held(), uint64(0), 0
	for _, err := range Rows(path, RowOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%1000 == 0 {
			most = max(most, held())
		}
	}
	if n != lines || most > before+24<<20 {
		t.Errorf("%d rows; %d MB are held while they are read, %d before", n, most>>20, before>>20)
	}
}
