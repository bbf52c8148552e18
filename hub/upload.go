package hub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Upload is a file to push: Content where that is set, or else the file at Path.
type Upload struct {
	Name    string // in the repository, with slashes
	Path    string
	Content []byte
	Size    int64
}

// ListUploads lists what of a directory is to be pushed: all regular files, links
// followed, but nothing hidden except .gitattributes, and no half-written files.
func ListUploads(dir string) ([]Upload, error) {
	var out []Upload
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		if skipped(d.Name()) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		info, err := os.Stat(path)
		if err != nil || d.IsDir() {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is neither a file nor a link to one; leave it out of what is pushed", path)
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if !isPortable(name) {
			return fmt.Errorf("%s has a name that is another file on some systems; rename it", path)
		}
		out = append(out, Upload{Name: name, Path: path, Size: info.Size()})
		return nil
	})
	slices.SortFunc(out, func(a, b Upload) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

func skipped(name string) bool {
	return strings.HasPrefix(name, ".") && name != ".gitattributes" ||
		strings.HasSuffix(name, ".incomplete") || strings.HasSuffix(name, "~") || name == "__pycache__"
}

// open returns the content and what closes it.
func (u Upload) open() (io.ReaderAt, io.Closer, error) {
	if u.Content != nil {
		return bytes.NewReader(u.Content), io.NopCloser(nil), nil
	}
	f, err := os.Open(u.Path)
	return f, f, err
}

// sampleSize is how much of a file the hub looks at to tell text from binary.
const sampleSize = 512

func (u Upload) sample() ([]byte, error) { return u.read(min(u.Size, sampleSize)) }

// read returns the first n bytes.
func (u Upload) read(n int64) ([]byte, error) {
	in, closer, err := u.open()
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	p := make([]byte, n)
	if got, err := in.ReadAt(p, 0); int64(got) < n {
		return nil, fmt.Errorf("%s: %w", u.Path, errors.Join(errChanged, err))
	}
	return p, nil
}

// sha256 and blobHash are the two names that a content has.
func (u Upload) sha256(ctx context.Context, read func(int64)) (string, error) {
	return u.sum(ctx, sha256.New(), read)
}

func (u Upload) blobHash(ctx context.Context, read func(int64)) (string, error) {
	return u.sum(ctx, newBlobHash(u.Size), read)
}

// sum hashes the content; read is told of the bytes.
func (u Upload) sum(ctx context.Context, h hash.Hash, read func(int64)) (string, error) {
	in, closer, err := u.open()
	if err != nil {
		return "", err
	}
	defer closer.Close()
	buf := make([]byte, bufferSize)
	for at := int64(0); at < u.Size; {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		n, err := in.ReadAt(buf[:min(int64(len(buf)), u.Size-at)], at)
		_, _ = h.Write(buf[:n]) // never fails
		at += int64(n)
		read(int64(n))
		if err == io.EOF && at < u.Size {
			return "", fmt.Errorf("%s: %w", u.Path, errChanged)
		}
		if err != nil && err != io.EOF {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
