package data

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/coppice-ml/coppice/internal/mmap"
)

// maxWindow bounds what a zstd file may ask for to be unpacked; zstd's own
// tool needs a flag beyond 128 MiB too.
const maxWindow = 128 << 20

// text is an open text file: unpacked, without byte order mark, and within
// bounds.
type text struct {
	*bufio.Reader
	path    string
	limited *limited
	close   []func()
}

func openText(s source) (*text, error) {
	f, _, err := mmap.OpenNamed(s.path)
	if err != nil {
		return nil, err
	}
	t := &text{path: s.path, close: []func(){func() { f.Close() }}}
	packed, err := t.unpack(f)
	if err != nil {
		t.Close()
		return nil, err
	}
	if kind, _ := formatOf(s.path); isText(kind) {
		packed = &newlines{r: packed}
	}
	t.limited = &limited{r: packed, limit: s.limit, left: s.limit}
	t.Reader = bufio.NewReaderSize(t.limited, 64<<10)
	if mark, err := t.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = t.Discard(3)
	}
	if mark, _ := t.Peek(2); string(mark) == "\xff\xfe" || string(mark) == "\xfe\xff" {
		t.Close()
		return nil, &Error{Path: s.path, What: "it is UTF-16, as its byte order mark says", Remedy: toUTF8}
	}
	return t, nil
}

func (t *text) unpack(f *os.File) (io.Reader, error) {
	switch _, packed := formatOf(t.path); packed {
	case ".gz":
		r, err := gzip.NewReader(bufio.NewReaderSize(f, 64<<10))
		if err != nil {
			return nil, t.damaged(err)
		}
		return r, nil
	case ".zst":
		r, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, t.damaged(err)
		}
		t.close = append(t.close, r.Close)
		return r, nil
	}
	return f, nil
}

func (t *text) Close() {
	for _, c := range t.close {
		c()
	}
}

// next is called where a row begins: the bound is for each row.
func (t *text) next() { t.limited.left = t.limited.limit }

// damaged makes an error of what a read failed with, which is no error of the
// format's text.
func (t *text) damaged(err error) error {
	var path *os.PathError
	switch {
	case errors.As(err, &path):
		return err
	case errors.Is(err, errTooLong):
		return &Error{Path: t.path, What: fmt.Sprintf("a row is longer than %d bytes", t.limited.limit), Remedy: "look for a missing line end, quote or bracket"}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Path: t.path, What: "the packed file is cut short", Remedy: "fetch it again"}
	}
	return &Error{Path: t.path, What: "cannot be unpacked: " + err.Error(), Remedy: "fetch it again"}
}

// line reads the next line, without its end; it is valid until the next call.
// At the end it returns io.EOF.
func (t *text) line(buf []byte) ([]byte, error) {
	t.next()
	buf = buf[:0]
	for {
		part, err := t.ReadSlice('\n')
		buf = append(buf, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(buf) == 0:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, t.damaged(err)
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(buf, []byte("\n")), []byte("\r")), nil
	}
}

var errTooLong = errors.New("a row is too long")

// limited fails when more than limit bytes are read between two rows.
type limited struct {
	r           io.Reader
	limit, left int
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errTooLong
	}
	n, err := l.r.Read(p)
	l.left -= n
	return n, err
}

// newlines reads text with every line end as \n: \r\n and \r too, as Python opens
// text files, and the data sets made of them.
type newlines struct {
	r    io.Reader
	last bool // the byte before was \r
}

func (n *newlines) Read(p []byte) (int, error) {
	for {
		got, err := n.r.Read(p)
		out := 0
		for _, c := range p[:got] {
			after := n.last
			n.last = c == '\r'
			switch {
			case c == '\r':
				c = '\n'
			case c == '\n' && after:
				continue
			}
			p[out] = c
			out++
		}
		if out > 0 || err != nil || len(p) == 0 {
			return out, err
		}
	}
}
