package torchfile

import (
	"archive/zip"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxDirectory bounds what is read of an archive beside its pickle: its
// directory, a hundred bytes a storage.
const maxDirectory = 32 << 20

// archive is a zip archive as torch.save writes it: PREFIX/data.pkl, a storage's
// bytes in PREFIX/data/KEY, all of it stored as it is.
type archive struct {
	entries map[string]*zip.File
	prefix  string
	size    int64
}

func readArchive(r io.ReaderAt, size int64, path string) (*Contents, error) {
	a, err := openArchive(r, size)
	if err != nil {
		return nil, err
	}
	big, err := a.bigEndian(r)
	if err != nil {
		return nil, err
	}
	pickle, err := a.find("data.pkl")
	if err != nil {
		return nil, err
	}
	top, _, err := unpickle(r, pickle.Offset, pickle.Offset+pickle.Bytes, path)
	if err != nil {
		return nil, err
	}
	c, err := contents(top, func(s *storage) (Storage, error) { return a.find("data/" + s.key) }, big)
	if err != nil {
		return nil, err
	}
	return c, checkApart(append(slices.Clone(c.Storages), pickle))
}

// checkApart refuses entries that share bytes: no writer makes them, and the same
// bytes would pass for two.
func checkApart(entries []Storage) error {
	entries = slices.DeleteFunc(entries, func(s Storage) bool { return s.Bytes == 0 })
	slices.SortFunc(entries, func(a, b Storage) int { return cmp.Compare(a.Offset, b.Offset) })
	for i := range len(entries) - 1 {
		a, b := entries[i], entries[i+1]
		if a.Offset+a.Bytes > b.Offset {
			return &FormatError{Offset: b.Offset, Problem: fmt.Sprintf("two entries of the archive overlap by %d bytes", min(a.Offset+a.Bytes-b.Offset, b.Bytes))}
		}
	}
	return nil
}

func openArchive(r io.ReaderAt, size int64) (*archive, error) {
	z, err := zip.NewReader(&bounded{r: r, left: maxDirectory}, size)
	switch {
	case errors.Is(err, errDirectory):
		return nil, &FormatError{Offset: size, Problem: fmt.Sprintf("the archive's directory is over the limit of %d bytes", maxDirectory)}
	case errors.Is(err, zip.ErrFormat), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return nil, &FormatError{Offset: size, Problem: "the archive's directory, which is at its end, is missing: the file is cut short"}
	case err != nil:
		return nil, &FormatError{Offset: size, Problem: fmt.Sprintf("the archive's directory: %v", err)}
	}
	a := &archive{entries: make(map[string]*zip.File, len(z.File)), size: size}
	for _, f := range z.File {
		if a.entries[f.Name] != nil {
			return nil, &FormatError{Offset: size, Problem: fmt.Sprintf("the archive holds %q twice", f.Name)}
		}
		a.entries[f.Name] = f
		if prefix, ok := strings.CutSuffix(f.Name, "/data.pkl"); ok && !strings.Contains(prefix, "/") {
			if a.prefix != "" {
				return nil, &FormatError{Offset: size, Problem: "the archive holds two pickles", Remedy: saveAgain}
			}
			a.prefix = prefix
		}
	}
	switch {
	case a.prefix == "":
		return nil, &FormatError{Offset: size, Problem: "the archive holds no data.pkl: torch.save did not write it", Remedy: saveAgain}
	case a.entries[a.prefix+"/constants.pkl"] != nil:
		return nil, &FormatError{Offset: size, Problem: "this is a TorchScript program, not weights", Remedy: saveAgain}
	}
	return a, nil
}

// find returns where an entry's bytes lie in the file.
func (a *archive) find(name string) (Storage, error) {
	name = a.prefix + "/" + name
	fail := func(at int64, remedy, format string, args ...any) (Storage, error) {
		return Storage{}, &FormatError{Offset: at, Problem: fmt.Sprintf("archive entry %q: ", name) + fmt.Sprintf(format, args...), Remedy: remedy}
	}
	f := a.entries[name]
	if f == nil {
		return fail(a.size, "", "the archive lacks it")
	}
	at, err := f.DataOffset()
	const encrypted = 1
	switch n := f.UncompressedSize64; {
	case err != nil:
		return fail(0, "", "%v", err)
	case f.Method != zip.Store || f.Flags&encrypted != 0 || f.CompressedSize64 != n:
		return fail(at, saveAgain, "it is compressed or encrypted, as torch.save does not write it")
	case n > uint64(a.size) || at > a.size-int64(n):
		return fail(at, "", "it takes %d bytes, and the file has %d", n, a.size)
	}
	return Storage{Offset: at, Bytes: int64(f.UncompressedSize64), CRC32: f.CRC32}, nil
}

// bigEndian reads the entry that PyTorch 2.1 and later write. Before, only the
// machine knew, and none that trains models was big-endian.
func (a *archive) bigEndian(r io.ReaderAt) (bool, error) {
	if a.entries[a.prefix+"/byteorder"] == nil {
		return false, nil
	}
	at, err := a.find("byteorder")
	if err != nil {
		return false, err
	}
	text := make([]byte, min(at.Bytes, 16))
	if _, err := r.ReadAt(text, at.Offset); err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read the byte order: %w", err)
	}
	switch string(text) {
	case "little":
		return false, nil
	case "big":
		return true, nil
	}
	return false, &FormatError{Offset: at.Offset, Problem: fmt.Sprintf("the byte order is %q, want little or big", text)}
}

var errDirectory = errors.New("archive directory too large")

// bounded is a reader that gives up after so many bytes.
type bounded struct {
	r    io.ReaderAt
	left int64
}

func (b *bounded) ReadAt(p []byte, off int64) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errDirectory
	}
	return b.r.ReadAt(p, off)
}
