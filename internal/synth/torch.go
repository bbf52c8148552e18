package synth

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"

	"github.com/coppice-ml/coppice/safetensors"
)

// writeTorch writes a file as torch.save does: a zip archive of a pickled state
// dict and of every tensor's bytes at a multiple of 64.
func (o Options) writeTorch(path string, ts []safetensors.Tensor) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := &counted{w: bufio.NewWriterSize(f, 1<<20)}
	a := torchArchive{zip.NewWriter(out), out}
	for _, e := range []struct{ name, content string }{
		{"data.pkl", pickleState(ts)}, {"byteorder", "little"}, {"version", "3\n"},
	} {
		write := func(w io.Writer) error { _, err := io.WriteString(w, e.content); return err }
		if err := a.add(e.name, int64(len(e.content)), write); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	for i, t := range ts {
		write := func(w io.Writer) error { return o.writeTensor(w, t) }
		if err := a.add("data/"+strconv.Itoa(i), tensorBytes(t), write); err != nil {
			return fmt.Errorf("%s: tensor %s: %w", path, t.Name, err)
		}
	}
	if err := a.zip.Close(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return out.w.Flush()
}

type torchArchive struct {
	zip *zip.Writer
	out *counted
}

// counted knows how much was written.
type counted struct {
	w *bufio.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// add writes an entry, twice: the header in front wants the checksum.
func (a torchArchive) add(name string, size int64, write func(io.Writer) error) error {
	sum := crc32.NewIEEE()
	if err := write(sum); err != nil {
		return err
	}
	h := &zip.FileHeader{Name: "pytorch_model/" + name, Method: zip.Store, CRC32: sum.Sum32(),
		CompressedSize64: uint64(size), UncompressedSize64: uint64(size)}
	if err := a.zip.Flush(); err != nil {
		return err
	}
	const header, field, alignment = 30, 4, 64
	at := a.out.n + header + int64(len(h.Name)) + field
	padding := (alignment - at%alignment) % alignment
	h.Extra = append([]byte{'F', 'B', byte(padding), 0}, make([]byte, padding)...)
	w, err := a.zip.CreateRaw(h)
	if err != nil {
		return err
	}
	return write(w)
}

// pickleState is the state dict of tensors whose storages are numbered.
func pickleState(ts []safetensors.Tensor) string {
	p := []byte("\x80\x02}(")
	for i, t := range ts {
		p = pickleText(p, t.Name)
		p = append(p, "ctorch._utils\n_rebuild_tensor_v2\n(("...)
		p = pickleText(p, "storage")
		p = append(p, "ctorch\n"+storageClass(t.DType)+"\n"...)
		p = pickleText(pickleText(p, strconv.Itoa(i)), "cpu")
		p = append(pickleInt(p, elements(t.Shape)), "tQK\x00("...)
		for _, dim := range t.Shape {
			p = pickleInt(p, int64(dim))
		}
		p = append(p, "t("...)
		for i := range t.Shape {
			p = pickleInt(p, elements(t.Shape[i+1:]))
		}
		p = append(p, "t\x89ccollections\nOrderedDict\n)RtR"...)
	}
	return string(append(p, "u."...))
}

func pickleText(p []byte, s string) []byte {
	p = binary.LittleEndian.AppendUint32(append(p, 'X'), uint32(len(s)))
	return append(p, s...)
}

func pickleInt(p []byte, n int64) []byte {
	return binary.LittleEndian.AppendUint64(append(p, 0x8a, 8), uint64(n))
}

func storageClass(d safetensors.DType) string {
	switch d {
	case safetensors.BF16:
		return "BFloat16Storage"
	case safetensors.F16:
		return "HalfStorage"
	}
	return "FloatStorage"
}
