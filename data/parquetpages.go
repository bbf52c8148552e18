package data

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// pageLimits bound what the pages of a row group may become in memory. The library
// trusts what pages say of themselves: a few bytes may unpack to gigabytes, or
// stand for billions of values.
type pageLimits struct {
	bytes  int64 // of the largest page of every column, together
	values int   // of a page
	row    int   // values of one row in one column
}

func defaultPageLimits() pageLimits {
	return pageLimits{bytes: 1 << 30, values: 1 << 26, row: 1 << 24}
}

// headerBytes is more than a page's header takes, statistics included.
const headerBytes = 1 << 20

// levels are how deep the values of a leaf column lie in the schema.
type levels struct{ rep, def int }

// leafLevels lists those of all leaf columns.
func leafLevels(c *parquet.Column, at levels) []levels {
	var out []levels
	for _, child := range c.Columns() {
		in := at
		if child.Repeated() {
			in.rep++
		}
		if child.Repeated() || child.Optional() {
			in.def++
		}
		if child.Leaf() {
			out = append(out, in)
		} else {
			out = append(out, leafLevels(child, in)...)
		}
	}
	return out
}

// checkPages unpacks the pages of a row group, each by itself, and counts what they
// hold, without making values of it.
func (t *table) checkPages(g int, columns []format.ColumnChunk) error {
	var largest int64
	for i, c := range columns {
		if i >= len(t.levels) {
			break // the library refuses it
		}
		p := &pageCheck{codec: c.MetaData.Codec, levels: t.levels[i], limits: t.limits}
		if err := p.chunk(t.file, c.MetaData); err != nil {
			where := fmt.Sprintf("row group %d, column %s", g, strings.Join(c.MetaData.PathInSchema, "."))
			return &Error{Path: t.path, Where: where, What: err.Error(), Remedy: refetch}
		}
		if largest += p.largest; largest > t.limits.bytes {
			return &Error{Path: t.path, Where: fmt.Sprintf("row group %d", g), Remedy: "write it again with smaller pages",
				What: fmt.Sprintf("one page of every column takes more than the limit of %d bytes", t.limits.bytes)}
		}
	}
	return nil
}

// pageCheck goes through the pages of one column chunk.
type pageCheck struct {
	codec   format.CompressionCodec
	levels  levels
	limits  pageLimits
	largest int64 // bytes of the largest page
	row     int   // values so far of the row that goes on
	longest int   // values of the longest row
	zstd    *zstd.Decoder
}

func (p *pageCheck) chunk(r io.ReaderAt, m format.ColumnMetaData) error {
	start := m.DataPageOffset
	if m.DictionaryPageOffset > 0 {
		start = min(start, m.DictionaryPageOffset)
	}
	in := bufio.NewReaderSize(io.NewSectionReader(r, start, m.TotalCompressedSize), headerBytes)
	defer func() {
		if p.zstd != nil {
			p.zstd.Close()
		}
	}()
	for {
		head, err := in.Peek(headerBytes)
		if len(head) == 0 && err == io.EOF {
			return nil
		}
		if len(head) == 0 {
			return err
		}
		h, n, err := pageHeader(head)
		if err != nil {
			return fmt.Errorf("damaged page header: %w", err)
		}
		if int64(h.UncompressedPageSize) > p.limits.bytes {
			return fmt.Errorf("a page of %d bytes is over the limit of %d", h.UncompressedPageSize, p.limits.bytes)
		}
		if int64(h.CompressedPageSize) > m.TotalCompressedSize {
			return fmt.Errorf("a page of %d bytes in a column of %d", h.CompressedPageSize, m.TotalCompressedSize)
		}
		_, _ = in.Discard(n) // it was peeked
		raw := make([]byte, h.CompressedPageSize)
		if _, err := io.ReadFull(in, raw); err != nil {
			return fmt.Errorf("its last page is cut short")
		}
		if err := p.page(h, raw); err != nil {
			return err
		}
	}
}

// pageHeader reads a header and says how many bytes it takes.
func pageHeader(head []byte) (h *format.PageHeader, n int, err error) {
	r := bytes.NewReader(head)
	h = new(format.PageHeader)
	if err := thrift.NewDecoder(new(thrift.CompactProtocol).NewReader(r)).Decode(h); err != nil {
		return nil, 0, err
	}
	if h.CompressedPageSize < 0 || h.UncompressedPageSize < 0 {
		return nil, 0, fmt.Errorf("a page of %d bytes", min(h.CompressedPageSize, h.UncompressedPageSize))
	}
	return h, len(head) - r.Len(), nil
}

// page checks one page, whose bytes are raw.
func (p *pageCheck) page(h *format.PageHeader, raw []byte) error {
	size := int(h.UncompressedPageSize)
	p.largest = max(p.largest, int64(size))
	switch {
	case h.DictionaryPageHeader.Valid:
		if err := p.count(h.DictionaryPageHeader.V.NumValues); err != nil {
			return err
		}
		_, err := p.unpack(raw, size)
		return err
	case h.DataPageHeader.Valid:
		v := h.DataPageHeader.V
		if err := p.count(v.NumValues); err != nil {
			return err
		}
		content, err := p.unpack(raw, size)
		if err != nil {
			return err
		}
		return p.first(v, content)
	case h.DataPageHeaderV2.Valid:
		return p.second(h.DataPageHeaderV2.V, raw, size)
	}
	return nil
}

func (p *pageCheck) count(values int32) error {
	if values < 0 || int64(values) > int64(p.limits.values) {
		return fmt.Errorf("a page of %d values is over the limit of %d", values, p.limits.values)
	}
	// Levels take a byte a value each, and places of texts four.
	p.largest = max(p.largest, 6*int64(values))
	return nil
}

// unpack gives what a page holds, of at most size bytes.
func (p *pageCheck) unpack(raw []byte, size int) ([]byte, error) {
	var r io.Reader
	var err error
	switch p.codec {
	case format.Snappy:
		n, err := snappy.DecodedLen(raw)
		if err != nil || n > size {
			return nil, p.unpacks(size, err)
		}
		return snappy.Decode(nil, raw)
	case format.Lz4Raw:
		out := make([]byte, size)
		n, err := lz4.UncompressBlock(raw, out)
		if err != nil {
			return nil, p.unpacks(size, nil)
		}
		return out[:n], nil
	case format.Gzip:
		r, err = gzip.NewReader(bytes.NewReader(raw))
	case format.Brotli:
		r = brotli.NewReader(bytes.NewReader(raw))
	case format.Zstd:
		if p.zstd == nil {
			p.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		}
		if err == nil {
			err = p.zstd.Reset(bytes.NewReader(raw))
		}
		r = p.zstd
	default:
		return raw, nil
	}
	if err != nil {
		return nil, p.unpacks(size, err)
	}
	out := bytes.NewBuffer(make([]byte, 0, min(size, 64*len(raw))+bytes.MinRead))
	if _, err := out.ReadFrom(io.LimitReader(r, int64(size)+1)); err != nil || out.Len() > size {
		return nil, p.unpacks(size, err)
	}
	return out.Bytes(), nil
}

func (p *pageCheck) unpacks(size int, err error) error {
	if err != nil {
		return fmt.Errorf("a page cannot be unpacked: %w", err)
	}
	return fmt.Errorf("a page unpacks to more than the %d bytes that it announces, or is damaged", size)
}
