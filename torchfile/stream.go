package torchfile

import (
	"encoding/binary"
	"fmt"
	"io"
)

// streamMagic is the number that the first pickle of an old file holds,
// 0x1950a86a20f9469cfc6c, least byte first.
const streamMagic bigInt = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"

// streamVersion is the only version of that format.
const streamVersion = 1001

// readStream reads what PyTorch before 1.6 wrote, and later ones write when
// asked: four pickles (magic number, version, the writer's machine, state dict), a
// fifth with the keys of the storages, and for each key the number of elements and
// the elements, least byte first.
func readStream(r io.ReaderAt, size int64, path string) (*Contents, error) {
	magic, next, err := unpickle(r, 0, size, path)
	if err != nil {
		return nil, err
	}
	if magic != any(streamMagic) {
		return nil, &FormatError{Problem: "this is a pickle, but not one that torch.save wrote", Remedy: saveAgain}
	}
	var parts [4]any
	for i := range parts {
		at := next
		if parts[i], next, err = unpickle(r, at, size, path); err != nil {
			return nil, err
		}
		if i == 0 && parts[i] != any(int64(streamVersion)) {
			return nil, &FormatError{Offset: at, Problem: "the version of the format is not 1001", Remedy: saveAgain}
		}
	}
	keys, ok := parts[3].(*list)
	if !ok {
		return nil, &FormatError{Offset: next, Problem: fmt.Sprintf("the keys of the storages are %s, not a list", kindOf(parts[3]))}
	}
	s := &stream{r: r, size: size, starts: make(map[string]int64), widths: make(map[string]int64)}
	s.measure(parts[2])
	if err := s.walk(keys, next); err != nil {
		return nil, err
	}
	return contents(parts[2], s.find, false)
}

// stream knows where storages begin in an old file.
type stream struct {
	r      io.ReaderAt
	size   int64
	starts map[string]int64
	widths map[string]int64 // bytes of an element, by key
}

// measure collects the element sizes, without which storages cannot be passed over.
func (s *stream) measure(top any) {
	state, ok := top.(*dict)
	if !ok {
		return
	}
	for _, p := range state.pairs {
		if d, ok := p.value.(*described); ok {
			s.widths[d.storage.key] = int64(d.storage.dtype.Size())
		}
	}
}

// walk goes from storage to storage.
func (s *stream) walk(keys *list, at int64) error {
	for _, k := range keys.items {
		key, ok := k.(string)
		width := s.widths[key]
		if !ok || width == 0 || s.starts[key] != 0 {
			return &FormatError{Offset: at, Problem: "a storage is listed that no tensor of the state dict uses, or twice", Remedy: saveAgain}
		}
		var raw [8]byte
		if at > s.size-int64(len(raw)) {
			return &FormatError{Offset: at, Problem: "the file is cut short: storages are missing"}
		}
		if _, err := s.r.ReadAt(raw[:], at); err != nil {
			return fmt.Errorf("read the length of a storage: %w", err)
		}
		at += int64(len(raw))
		n := binary.LittleEndian.Uint64(raw[:])
		if n > uint64(s.size-at)/uint64(width) {
			return &FormatError{Offset: at, Problem: fmt.Sprintf("the file is cut short: a storage has %d elements, %d bytes are left", n, s.size-at)}
		}
		s.starts[key] = at
		at += int64(n) * width
	}
	return nil
}

func (s *stream) find(w *storage) (Storage, error) {
	at, ok := s.starts[w.key]
	if !ok {
		return Storage{}, &FormatError{Offset: s.size, Problem: fmt.Sprintf("its storage (%q) is not in the file", w.key)}
	}
	if w.bytes() > s.size-at {
		return Storage{}, &FormatError{Offset: at, Problem: "the file is cut short"}
	}
	return Storage{Offset: at, Bytes: w.bytes()}, nil
}
