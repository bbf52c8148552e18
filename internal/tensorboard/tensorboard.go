// Package tensorboard writes scalars into an event file that TensorBoard reads: records
// with their lengths and checksums (TFRecord), each an Event in protocol buffers.
//
// What the scalars are belongs to its callers. Histograms, images and graphs do not
// belong here.
package tensorboard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"time"
)

// FileName is the name of an event file; TensorBoard looks for "tfevents" in it.
const FileName = "events.out.tfevents.1.coppice"

// File is an event file. Its methods are for one goroutine at a time.
type File struct{ f *os.File }

// Scalar is a value of a series.
type Scalar struct {
	Tag   string
	Value float64 // kept as float32
}

// Open begins an event file, or goes on with one: records after the last whole one
// are cut off, and those of a tag and step that keep, which may be nil, does not
// want any more.
func Open(path string, now time.Time, keep func(tag string, step int64) bool) (*File, error) {
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	kept := []byte{}
	for rest := raw; len(rest) > 0; {
		event, size := record(rest)
		if size == 0 {
			break
		}
		tag, step, ok := parse(event)
		if !ok || tag == "" && len(kept) > 0 {
			break
		}
		if tag == "" || keep == nil || keep(tag, step) {
			kept = append(kept, rest[:size]...)
		}
		rest = rest[size:]
	}
	if len(kept) == 0 {
		kept = framed(text(double(nil, 1, seconds(now)), 3, []byte("brain.Event:2")))
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteAt(kept, 0)
	if err == nil {
		err = f.Truncate(int64(len(kept)))
	}
	if err == nil {
		_, err = f.Seek(0, 2)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return &File{f}, nil
}

// Add writes scalars of a step, each an event of its own.
func (f *File) Add(now time.Time, step int64, scalars ...Scalar) error {
	var out []byte
	for _, s := range scalars {
		value := text(nil, 1, []byte(s.Tag))
		value = binary.LittleEndian.AppendUint32(append(value, 2<<3|5), math.Float32bits(float32(s.Value)))
		event := double(nil, 1, seconds(now))
		event = binary.AppendUvarint(append(event, 2<<3), uint64(step))
		out = append(out, framed(text(event, 5, text(nil, 1, value)))...)
	}
	_, err := f.f.Write(out)
	return err
}

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// double appends a field of eight bytes.
func double(b []byte, field int, v float64) []byte {
	return binary.LittleEndian.AppendUint64(append(b, byte(field<<3|1)), math.Float64bits(v))
}

// text appends a field with a length.
func text(b []byte, field int, v []byte) []byte {
	return append(binary.AppendUvarint(append(b, byte(field<<3|2)), uint64(len(v))), v...)
}

// framed is a record: length, its checksum, data, their checksum.
func framed(data []byte) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	out = binary.LittleEndian.AppendUint32(out, masked(out))
	out = append(out, data...)
	return binary.LittleEndian.AppendUint32(out, masked(data))
}

// masked is CRC-32C as records have it, so that a checksum of checksums is none.
func masked(data []byte) uint32 {
	c := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return (c>>15 | c<<17) + 0xa282ead8
}

// record is the data of the first record and its size with the frame, 0 where the
// record is damaged or cut short.
func record(b []byte) (data []byte, size int) {
	if len(b) < 16 || binary.LittleEndian.Uint32(b[8:]) != masked(b[:8]) {
		return nil, 0
	}
	n := binary.LittleEndian.Uint64(b)
	if n > uint64(len(b)-16) {
		return nil, 0
	}
	data = b[12 : 12+n]
	if binary.LittleEndian.Uint32(b[12+n:]) != masked(data) {
		return nil, 0
	}
	return data, int(n) + 16
}

// parse reads the tag and the step of an event as Add writes them; the first one of
// a file has no tag.
func parse(event []byte) (tag string, step int64, ok bool) {
	err := each(event, func(field int, number uint64, data []byte) {
		switch field {
		case 2:
			step = int64(number)
		case 5:
			_ = each(data, func(_ int, _ uint64, value []byte) {
				_ = each(value, func(field int, _ uint64, data []byte) {
					if field == 1 {
						tag = string(data)
					}
				})
			})
		}
	})
	return tag, step, err == nil
}

var errDamaged = errors.New("not a protocol buffer")

// each gives the fields of a message to see.
func each(b []byte, see func(field int, number uint64, data []byte)) error {
	for len(b) > 0 {
		key, n := binary.Uvarint(b)
		if n <= 0 {
			return errDamaged
		}
		b = b[n:]
		var number uint64
		var data []byte
		size := map[uint64]int{1: 8, 5: 4}[key&7]
		switch key & 7 {
		case 0:
			if number, size = binary.Uvarint(b); size <= 0 {
				return errDamaged
			}
		case 2:
			length, n := binary.Uvarint(b)
			if n <= 0 || length > uint64(len(b)-n) {
				return errDamaged
			}
			size = n + int(length)
			data = b[n:size]
		}
		if size == 0 || size > len(b) {
			return errDamaged
		}
		see(int(key>>3), number, data)
		b = b[size:]
	}
	return nil
}
