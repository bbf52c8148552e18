package checkpoint

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/internal/meter"
)

// WriteOptions says how a copy is written.
type WriteOptions struct {
	// Force replaces an output that exists, if it looks like a checkpoint.
	Force bool
	// Progress, which may be nil, counts the bytes written. It is called from
	// one goroutine at a time.
	Progress func(done, total int64)
	// MaxShard bounds the bytes of data in a weight file; 0 keeps the files as
	// the source has them.
	MaxShard int64

	// system is replaced in tests; nil is the real one.
	system *system
}

// system is what writing needs of the machine.
type system struct {
	free func(dir string) (int64, error)
	copy copyRange
}

// Written describes a finished copy.
type Written struct {
	Path    string
	Bytes   int64
	Tensors int
	// Files are the names in the directory, sorted.
	Files []string
}

// Write writes a changed copy of c to the directory out. The bytes of every kept
// tensor that is not replaced are those of the source. The copy appears at once and complete, or not
// at all: it is written beside out under a hidden name, synced and renamed.
// Errors wrap ErrExists, ErrInside, ErrNoSpace or the context's cause.
func Write(ctx context.Context, c *Checkpoint, out string, s Surgery, opt WriteOptions) (Written, error) {
	w, err := write(ctx, c, out, s, opt)
	if err != nil {
		return Written{}, fmt.Errorf("write checkpoint %s: %w", out, err)
	}
	return w, nil
}

func write(ctx context.Context, c *Checkpoint, out string, s Surgery, opt WriteOptions) (Written, error) {
	sys := opt.system
	if sys == nil {
		sys = &system{free: freeSpace, copy: copyInKernel}
	}
	if opt.MaxShard < 0 {
		return Written{}, fmt.Errorf("shard size %d: give a positive number of bytes, or 0", opt.MaxShard)
	}
	out, err := filepath.Abs(out)
	if err != nil {
		return Written{}, err
	}
	if err := checkApart(c, out); err != nil {
		return Written{}, err
	}
	if err := checkOutput(out, opt.Force); err != nil {
		return Written{}, err
	}
	b, err := c.draw(s, opt.MaxShard)
	if err != nil {
		return Written{}, err
	}
	if err := checkSpace(out, b.bytes, sys.free); err != nil {
		return Written{}, err
	}
	tmp, done, err := makeTemp(out)
	if err != nil {
		return Written{}, err
	}
	defer done()
	if err := newCopier(tmp, sys.copy, meter.New(0, b.bytes, opt.Progress)).writeAll(ctx, b.largestFirst()); err != nil {
		return Written{}, err
	}
	if err := install(tmp, out, opt.Force); err != nil {
		return Written{}, err
	}
	return b.written(out), nil
}

// largestFirst orders the files so that no long one starts last.
func (b *blueprint) largestFirst() []outFile {
	return slices.SortedStableFunc(slices.Values(b.files), func(x, y outFile) int { return cmp.Compare(y.size(), x.size()) })
}

func (b *blueprint) written(out string) Written {
	w := Written{Path: out, Bytes: b.bytes, Tensors: b.tensors}
	for _, f := range b.files {
		w.Files = append(w.Files, f.name)
	}
	slices.Sort(w.Files)
	return w
}

// FreeSpace is how many bytes the disk of a directory still takes.
func FreeSpace(dir string) (int64, error) { return freeSpace(dir) }

// checkSpace compares what will be written with what the disk has free.
func checkSpace(out string, need int64, free func(string) (int64, error)) error {
	dir := existing(filepath.Dir(out))
	have, err := free(dir)
	if err != nil {
		return fmt.Errorf("ask for the free space of %s: %w", dir, err)
	}
	if have < need {
		return fmt.Errorf("%w: %s needed, %s free at %s; free some or choose another disk", ErrNoSpace, size(need, need), size(have, need), dir)
	}
	return nil
}

// size writes bytes in the unit, of those disks are sold by, that fits another number of
// them, so that the two can be compared.
func size(n, beside int64) string {
	switch {
	case beside < 1_000_000:
		return fmt.Sprintf("%d bytes", n)
	case beside < 1_000_000_000:
		return fmt.Sprintf("%.3f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.3f GB", float64(n)/1e9)
}

// existing returns the nearest ancestor of a path that exists, or the path itself.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil {
			return path
		}
		parent := filepath.Dir(path)
		if parent == path {
			return path
		}
		path = parent
	}
}

// makeTemp makes the directory that will be renamed to out. It lies beside it,
// because renaming does not cross file systems. It is held until done is called,
// which removes what is left under its name.
func makeTemp(out string) (tmp string, done func(), err error) {
	parent := filepath.Dir(out)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return "", nil, writable(parent, err)
	}
	removeAbandoned(out)
	for {
		tmp := sibling(out, "partial")
		if err := os.Mkdir(tmp, 0o777); err != nil {
			return "", nil, writable(parent, err)
		}
		// Another run may take it for abandoned until it is held.
		release, err := hold(tmp)
		if _, gone := os.Lstat(tmp); errors.Is(err, errHeld) || gone != nil {
			if err == nil {
				release()
			}
			continue
		}
		if err != nil { // no locks here: nobody will take it for abandoned either
			release = func() {}
		}
		return tmp, func() {
			_ = os.RemoveAll(tmp)
			release()
		}, nil
	}
}

// errHeld: another process, or another write of this one, holds a directory.
var errHeld = errors.New("held")

// removeAbandoned removes what earlier writes of the same output left when they
// were killed. Directories that a living process holds stay, and so does all where
// that cannot be known.
func removeAbandoned(out string) {
	parent, prefix := filepath.Dir(out), siblingPrefix(out, "partial")
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		suffix, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok || len(suffix) != siblingRandom || !e.IsDir() {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		if release, err := hold(dir); err == nil {
			_ = os.RemoveAll(dir)
			release()
		}
	}
}

// siblingRandom is how many random letters and digits end a sibling's name.
const siblingRandom = 8

// sibling returns a hidden name beside out that nobody else has.
func sibling(out, what string) string {
	name := siblingPrefix(out, what) + strings.ToLower(rand.Text()[:siblingRandom])
	return filepath.Join(filepath.Dir(out), name)
}

func siblingPrefix(out, what string) string {
	return fmt.Sprintf(".%s.coppice-%s-", filepath.Base(out), what)
}

func writable(dir string, err error) error {
	if errors.Is(err, fs.ErrPermission) || isReadOnly(err) {
		return fmt.Errorf("%s cannot be written to: %w; choose another output directory", dir, err)
	}
	return err
}
