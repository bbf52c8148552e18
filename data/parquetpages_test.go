package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

type pageRow struct {
	Text string  `parquet:"text"`
	IDs  []int32 `parquet:"ids,list"`
}

func pageFile(t *testing.T, codec compress.Codec, version int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[pageRow](&b, parquet.Compression(codec), parquet.DataPageVersion(version))
	for i := range 50 {
		if _, err := w.Write([]pageRow{{strings.Repeat("again and again ", 20), []int32{int32(i), 2, 3}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func allRows(raw []byte, limits pageLimits) (n int, err error) {
	err = limitedParquetRows("x.parquet", bytes.NewReader(raw), int64(len(raw)), limits, func(Row) bool { n++; return true })
	return n, err
}

// A page that says that it unpacks to less than it does, by every codec.
func TestLyingPages(t *testing.T) {
	for name, codec := range map[string]compress.Codec{"lz4": &parquet.Lz4Raw, "gzip": &parquet.Gzip, "zstd": &parquet.Zstd, "brotli": &parquet.Brotli, "snappy": &parquet.Snappy} {
		for _, version := range []int{1, 2} {
			raw := pageFile(t, codec, version)
			if n, err := allRows(raw, defaultPageLimits()); n != 50 || err != nil {
				t.Fatalf("%s %d: %d rows, %v", name, version, n, err)
			}
			h, n, err := pageHeader(raw[4:])
			if err != nil {
				t.Fatal(err)
			}
			h.UncompressedPageSize = h.UncompressedPageSize * 3 / 4
			lying, err := thrift.Marshal(new(thrift.CompactProtocol), h)
			if err != nil || len(lying) != n {
				t.Fatalf("the header of %d bytes became %d: %v", n, len(lying), err)
			}
			copy(raw[4:], lying)
			_, err = allRows(raw, defaultPageLimits())
			if err == nil || !strings.Contains(err.Error(), "row group 0, column text: a page unpacks to more than the") {
				t.Errorf("%s %d: %v", name, version, err)
			}
		}
	}
}

func TestPageLimits(t *testing.T) {
	raw := pageFile(t, &parquet.Gzip, 1)
	for want, limits := range map[string]pageLimits{
		"is over the limit of 1000":                             {1000, 1 << 20, 1 << 20},
		"one page of every column takes more than the limit of": {16100, 1 << 20, 1 << 20},
		"a page of 50 values is over the limit of 40":           {1 << 20, 40, 1 << 20},
		"a row of 3 values is over the limit of 2":              {1 << 20, 1 << 20, 2},
	} {
		if _, err := allRows(raw, limits); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", limits, err, want)
		}
	}
}

// Few bytes that stand for billions of values.
func TestRunsOfBillions(t *testing.T) {
	run := func(n uint64, value byte) []byte { return append(binary.AppendUvarint(nil, n<<1), value) }
	prefixed := func(b []byte) []byte { return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...) }
	deltas := func(count uint64) []byte {
		return append(binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(nil, 128), 4), count), 0)
	}
	page := func(p *pageCheck, values int32, e format.Encoding, content []byte) error {
		h := &format.PageHeader{UncompressedPageSize: int32(len(content)), DataPageHeader: thrift.New(format.DataPageHeader{
			NumValues: values, Encoding: e, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE})}
		return p.page(h, content)
	}
	flat, optional, list := levels{}, levels{0, 1}, levels{1, 2}
	for name, c := range map[string]struct {
		levels  levels
		values  int32
		e       format.Encoding
		content []byte
		want    string // "": sound
	}{
		"nulls":                   {optional, 1000, format.Plain, prefixed(run(1000, 0)), ""},
		"two billion nulls":       {optional, 2_000_000_000, format.Plain, prefixed(run(2_000_000_000, 0)), "2000000000 values is over the limit"},
		"more than are announced": {optional, 1000, format.Plain, prefixed(run(2_000_000_000, 0)), "announces 1000 values and encodes more"},
		"many runs":               {optional, 1000, format.Plain, prefixed(bytes.Repeat(run(900, 0), 9)), "encodes more"},
		"packed":                  {optional, 1000, format.Plain, prefixed(binary.AppendUvarint(nil, 1<<40|1)), "encodes more"},
		"one row of them":         {list, 1 << 25, format.Plain, append(prefixed(append(run(1, 0), run(1<<25-1, 1)...)), prefixed(run(1<<25, 0))...), "a row of 33554432 values"},
		"indexes":                 {flat, 1000, format.RLEDictionary, append([]byte{0}, binary.AppendUvarint(nil, 1<<32)...), "encodes more"},
		"booleans":                {flat, 1000, format.RLE, prefixed(run(1<<31, 1)), "encodes more"},
		"deltas":                  {flat, 1000, format.DeltaBinaryPacked, deltas(1 << 31), "announces 1000 values and encodes 2147483648"},
		"lengths":                 {flat, 1000, format.DeltaLengthByteArray, deltas(1 << 31), "encodes 2147483648"},
		"damaged levels":          {optional, 10, format.Plain, []byte{255, 255, 255, 127}, "damaged"},
	} {
		p := &pageCheck{levels: c.levels, limits: defaultPageLimits()}
		err := page(p, c.values, c.e, c.content)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Texts that repeat the one before them: a kilobyte each, of one byte in the file.
func TestPrefixesThatRepeat(t *testing.T) {
	type row struct {
		Text string `parquet:"text,delta"`
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b)
	for i := range 200 {
		if _, err := w.Write([]row{{strings.Repeat("x", 1000) + fmt.Sprint(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	limits := defaultPageLimits()
	if n, err := allRows(b.Bytes(), limits); n != 200 || err != nil {
		t.Fatalf("%d rows, %v", n, err)
	}
	if limits.bytes = 100_000; b.Len() > 100_000 {
		t.Skip("the writer did not use prefixes")
	}
	if _, err := allRows(b.Bytes(), limits); err == nil || !strings.Contains(err.Error(), "bytes of text is over the limit of 100000") {
		t.Errorf("error %v", err)
	}
}
