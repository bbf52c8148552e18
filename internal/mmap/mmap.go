// Package mmap maps files read-only, so that their bytes are read when they are
// touched and leave memory when the system needs it or Release asks.
//
// What the bytes mean belongs to the packages of the file formats.
package mmap

import "os"

// Map is a file in memory. All methods but Close may be called by many
// goroutines at once.
type Map struct{ data []byte }

// New maps the first size bytes of a file, which may be closed afterwards.
func New(f *os.File, size int64) (*Map, error) {
	if size == 0 { // systems refuse to map nothing
		return &Map{}, nil
	}
	data, err := mapFile(f, size)
	if err != nil {
		return nil, err
	}
	return &Map{data}, nil
}

// Bytes returns n bytes from an offset on. They are valid until Close, and
// writing to them faults. It panics when they do not lie in the file or the map
// is closed.
func (m *Map) Bytes(off, n int64) []byte { return m.data[off : off+n : off+n] }

// Prefetch asks the system to read bytes ahead, into its own cache. It is a
// hint; it waits only for room in the disk's queue.
func (m *Map) Prefetch(off, n int64) { willNeed(m.pages(off, n)) }

// Populate reads bytes into the process's memory and returns when they are
// there, or at once where the system cannot.
func (m *Map) Populate(off, n int64) { populate(m.pages(off, n)) }

// Release lets the pages of bytes go, so that they stop counting against the
// process. They stay valid: touching them reads them again.
func (m *Map) Release(off, n int64) { dontNeed(m.pages(off, n)) }

// pages widens bytes to whole pages: the mapping starts on a page, and the
// neighbours that share one merely fault once more.
func (m *Map) pages(off, n int64) []byte {
	if n <= 0 || off < 0 || off+n > int64(len(m.data)) {
		return nil
	}
	page := int64(os.Getpagesize())
	return m.data[off/page*page : off+n]
}

// Close unmaps the file. Slices from Bytes must not be touched any more.
func (m *Map) Close() error {
	data := m.data
	m.data = nil
	if data == nil {
		return nil
	}
	return unmapFile(data)
}
