package data

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// BenchmarkRows reads the same 20 MB of text from files of every kind; MB/s are
// those of the JSON lines, so that the kinds compare.
func BenchmarkRows(b *testing.B) {
	rows := make([]textRow, 10_000)
	lines := &strings.Builder{}
	table := &strings.Builder{}
	fmt.Fprintln(table, "text")
	for i := range rows {
		rows[i].Text = fmt.Sprintf("row %d ", i) + strings.Repeat("some words of a document, with \"quotes\" and é\n", 40)
		raw, _ := json.Marshal(map[string]any{"text": rows[i].Text, "id": i, "url": "https://example.org/a/b"})
		fmt.Fprintf(lines, "%s\n", raw)
		fmt.Fprintf(table, "\"%s\"\n", strings.ReplaceAll(rows[i].Text, `"`, `""`))
	}
	dir := b.TempDir()
	for name, content := range map[string][]byte{
		"a.jsonl":     []byte(lines.String()),
		"a.json":      []byte(lines.String()),
		"a.csv":       []byte(table.String()),
		"a.jsonl.gz":  pack(b, ".gz", []byte(lines.String())),
		"a.jsonl.zst": pack(b, ".zst", []byte(lines.String())),
		"a.parquet":   parquetFile(b, 1000, rows, parquet.Compression(&parquet.Snappy)),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o666); err != nil {
			b.Fatal(err)
		}
		b.Run(strings.TrimPrefix(name, "a."), func(b *testing.B) {
			b.SetBytes(int64(lines.Len())) // of text, so that formats compare
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for _, err := range Rows(path, RowOptions{}) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != len(rows) {
					b.Fatal(n)
				}
			}
		})
	}
}
