package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/coppice-ml/coppice/internal/mmap"
	"github.com/coppice-ml/coppice/safetensors"
	"github.com/coppice-ml/coppice/torchfile"
)

// form is a form in which weights are published: in one file, or in many with an
// index that says which holds which tensor.
type form struct {
	single    string
	index     string
	shards    string // what the many are called
	extension string
}

// safetensorsForm is what copies are written in.
func safetensorsForm() form {
	return form{"model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors", ".safetensors"}
}

func torchForm() form {
	return form{"pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin", ".bin"}
}

// forms lists those that are read. Of a directory with several the first counts.
func forms() []form { return []form{safetensorsForm(), torchForm()} }

// shard is one weight file. Its fields but file are fixed once it is open.
type shard struct {
	name    string
	path    string
	size    int64
	tensors []safetensors.Tensor // of a safetensors file in the order of their bytes
	// metadata is a safetensors file's own.
	metadata map[string]string
	// torch is set for a file of PyTorch's.
	torch *torchfile.Contents
	// storages are torch's, by offset, without empty ones.
	storages []torchfile.Storage
	// moved names tensors that the file does not hold row by row.
	moved map[string]bool

	mu     sync.Mutex
	file   weights
	closed bool
	sums   map[int64]error // of storages that were compared with their checksum
}

// weights is an open weight file of either form; see safetensors.File and
// torchfile.File, whose methods these are.
type weights interface {
	Tensor(name string) (safetensors.Tensor, bool)
	Data(safetensors.Tensor) []byte
	Prefetch(safetensors.Tensor)
	Populate(safetensors.Tensor)
	Release(safetensors.Tensor)
	Close() error
}

// read opens the file only to see which tensors it holds.
func (s *shard) read() error {
	f, info, err := mmap.OpenRegular(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	s.size = info.Size()
	if !s.isTorch() {
		h, err := safetensors.ReadHeader(f, s.size, s.path)
		if err != nil {
			return err
		}
		s.tensors, s.metadata = h.Tensors, h.Metadata
		return nil
	}
	if s.torch, err = torchfile.ReadContents(f, s.size, s.path); err != nil {
		return err
	}
	s.storages = slices.DeleteFunc(slices.Clone(s.torch.Storages), func(st torchfile.Storage) bool { return st.Bytes == 0 })
	slices.SortFunc(s.storages, func(a, b torchfile.Storage) int { return cmp.Compare(a.Offset, b.Offset) })
	s.moved = make(map[string]bool)
	for i := range s.torch.Tensors {
		t := &s.torch.Tensors[i]
		s.tensors = append(s.tensors, t.Tensor)
		if !t.InPlace() {
			s.moved[t.Name] = true
		}
	}
	return nil
}

func (s *shard) isTorch() bool { return filepath.Ext(s.name) == torchForm().extension }

// open maps the file on first use.
func (s *shard) open() (weights, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("%s: the checkpoint is closed: %w", s.path, fs.ErrClosed)
	}
	if s.file != nil {
		return s.file, nil
	}
	if s.isTorch() {
		f, err := torchfile.Open(s.path)
		if err != nil {
			return nil, err
		}
		s.file = f
	} else {
		f, err := safetensors.Open(s.path)
		if err != nil {
			return nil, err
		}
		s.file = f
	}
	return s.file, nil
}

// find opens the file and checks that a tensor still is where it was.
func (s *shard) find(t safetensors.Tensor) (weights, error) {
	f, err := s.open()
	if err != nil {
		return nil, err
	}
	now, ok := f.Tensor(t.Name)
	if !ok || now.Offset != t.Offset || now.Bytes != t.Bytes || now.DType != t.DType {
		return nil, Problem{Path: s.path, Tensor: t.Name, Message: "the file changed while it was in use", Remedy: "start again"}
	}
	return f, nil
}

// gather returns a function that reads a tensor's bytes from one on, as Data has
// them, where the file does not hold them row by row; else nil.
func (s *shard) gather(t safetensors.Tensor) func(dst []byte, at int64) error {
	if !s.moved[t.Name] {
		return nil
	}
	return func(dst []byte, at int64) error {
		f, err := s.find(t)
		if err != nil {
			return err
		}
		torch, ok := f.(*torchfile.File)
		if !ok {
			return fmt.Errorf("%s: %w", s.path, errors.ErrUnsupported)
		}
		torch.Read(t, dst, at)
		if at+int64(len(dst)) == t.Bytes {
			torch.Release(t)
		}
		return nil
	}
}

// reader returns a function that reads a tensor's bytes without mapping them
// where it can, and one to call at the end.
func (s *shard) reader(t safetensors.Tensor) (read func(dst []byte, at int64) error, done func(), err error) {
	if read := s.gather(t); read != nil {
		return read, func() {}, nil
	}
	f, err := os.Open(s.path)
	if err != nil {
		return nil, nil, err
	}
	return func(dst []byte, at int64) error {
		_, err := f.ReadAt(dst, t.Offset+at)
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}, func() { f.Close() }, nil
}

func (s *shard) mapped() weights {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file
}

func (s *shard) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return f.Close()
}
