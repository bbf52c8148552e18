package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"

	"github.com/coppice-ml/coppice/safetensors"
	"github.com/coppice-ml/coppice/torchfile"
)

// checked returns a function that reads the bytes of a torch file's tensor from
// one on, in order, and fails when the archive's checksum says that they are not
// those that were saved. Read, which may be nil, puts a tensor in order that the
// file does not hold row by row; it is returned where there is no checksum.
//
// A checksum is of a whole storage. Where the tensor is one, it is worked out on
// the way; where several share it, the storage is read once more.
func (s *shard) checked(t safetensors.Tensor, read func(dst []byte, at int64) error) func(dst []byte, at int64) error {
	st, ok := s.storageOf(t)
	if !ok || st.CRC32 == 0 {
		return read
	}
	if read == nil && st.Offset == t.Offset && st.Bytes == t.Bytes {
		return s.checkedWhole(t.Name, st)
	}
	if read == nil {
		read = func(dst []byte, at int64) error { return s.readAt(dst, t.Offset+at) }
	}
	return func(dst []byte, at int64) error {
		if at == 0 {
			if err := s.checkStorage(t.Name, st); err != nil {
				return err
			}
		}
		return read(dst, at)
	}
}

// checkedWhole reads a storage from its start on.
func (s *shard) checkedWhole(tensor string, st torchfile.Storage) func(dst []byte, at int64) error {
	sum := crc32.NewIEEE()
	return func(dst []byte, at int64) error {
		if err := s.readAt(dst, st.Offset+at); err != nil {
			return err
		}
		_, _ = sum.Write(dst) // never fails
		if at+int64(len(dst)) < st.Bytes {
			return nil
		}
		return s.compareSum(tensor, st, sum.Sum32())
	}
}

// checkStorage reads a storage that tensors share, the first time that it is asked.
func (s *shard) checkStorage(tensor string, st torchfile.Storage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err, done := s.sums[st.Offset]; done {
		return err
	}
	sum, buf := crc32.NewIEEE(), make([]byte, bufferSize)
	var err error
	for at := int64(0); at < st.Bytes && err == nil; {
		part := buf[:min(int64(len(buf)), st.Bytes-at)]
		err = s.readAt(part, st.Offset+at)
		_, _ = sum.Write(part) // never fails
		at += int64(len(part))
	}
	if err == nil {
		err = s.compareSum(tensor, st, sum.Sum32())
	}
	if s.sums == nil {
		s.sums = make(map[int64]error)
	}
	s.sums[st.Offset] = err
	return err
}

// compareSum compares what a storage's bytes add up to with what the archive says.
func (s *shard) compareSum(tensor string, st torchfile.Storage, sum uint32) error {
	if sum == st.CRC32 {
		return nil
	}
	return Problem{Path: s.path, Tensor: tensor, Remedy: getAgain,
		Message: fmt.Sprintf("at byte %d: the checksum of %d bytes is %08x, the archive says %08x", st.Offset, st.Bytes, sum, st.CRC32)}
}

// storageOf finds the storage of a torch file in which a tensor begins.
func (s *shard) storageOf(t safetensors.Tensor) (torchfile.Storage, bool) {
	i, _ := slices.BinarySearchFunc(s.storages, t.Offset+1, func(st torchfile.Storage, at int64) int { return cmp.Compare(st.Offset, at) })
	if i == 0 {
		return torchfile.Storage{}, false
	}
	st := s.storages[i-1]
	return st, t.Offset < st.Offset+st.Bytes
}

// readAt reads bytes of the file without mapping it.
func (s *shard) readAt(dst []byte, at int64) error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = f.ReadAt(dst, at); errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
