package tensorboard

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// events reads a file by the format's description alone, with nothing of the writer.
func events(t *testing.T, path string) (out []string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := func(b []byte) uint32 {
		c := crc32.New(crc32.MakeTable(0x82f63b78))
		_, _ = c.Write(b)
		v := c.Sum32()
		return ((v >> 15) | (v << 17)) + 0xa282ead8
	}
	for len(b) > 0 {
		n := int(binary.LittleEndian.Uint64(b[:8]))
		if sum(b[:8]) != binary.LittleEndian.Uint32(b[8:12]) || sum(b[12:12+n]) != binary.LittleEndian.Uint32(b[12+n:16+n]) {
			t.Fatal("a checksum is wrong")
		}
		e := b[12 : 12+n]
		b = b[16+n:]
		if e[0] != 0x09 { // wall_time, a double
			t.Fatalf("event %x", e)
		}
		wall := math.Float64frombits(binary.LittleEndian.Uint64(e[1:9]))
		e = e[9:]
		if e[0] == 0x1a { // file_version
			out = append(out, fmt.Sprint(wall, string(e[2:])))
			continue
		}
		if e[0] != 0x10 { // step
			t.Fatalf("event %x", e)
		}
		step, k := binary.Uvarint(e[1:])
		e = e[1+k:]
		// summary { value { tag, simple_value } }
		if e[0] != 0x2a || int(e[1]) != len(e)-2 || e[2] != 0x0a || int(e[3]) != len(e)-4 || e[4] != 0x0a {
			t.Fatalf("summary %x", e)
		}
		tag := string(e[6 : 6+e[5]])
		e = e[6+len(tag):]
		if e[0] != 0x15 || len(e) != 5 {
			t.Fatalf("value %x", e)
		}
		out = append(out, fmt.Sprint(wall, " ", step, " ", tag, " ", math.Float32frombits(binary.LittleEndian.Uint32(e[1:]))))
	}
	return out
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	now := time.Unix(1000, 5e8)
	f, err := Open(path, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	for step := range int64(3) {
		if err := f.Add(now, step*100, Scalar{"train/loss", 1.5 - float64(step)}, Scalar{"eval/loss", .25}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{"1000.5brain.Event:2", "1000.5 0 train/loss 1.5", "1000.5 0 eval/loss 0.25", "1000.5 100 train/loss 0.5", "1000.5 100 eval/loss 0.25", "1000.5 200 train/loss -0.5", "1000.5 200 eval/loss 0.25"}
	if got := events(t, path); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	raw, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, raw[:len(raw)-3], 0o600) // the last one is cut short
	}
	if err == nil {
		f, err = Open(path, now, func(tag string, step int64) bool { return step < 200 || tag == "eval/loss" })
	}
	if err == nil {
		err = f.Add(now, 200, Scalar{"train/loss", 7})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := events(t, path); !slices.Equal(got, append(want[:5:5], "1000.5 200 train/loss 7")) {
		t.Errorf("gone on with: %q", got)
	}
}
