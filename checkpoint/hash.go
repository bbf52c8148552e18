package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
)

// Hash identifies the model: the SHA-256 over one line "name size sha256" for
// each of config.json and the weight files, sorted by name. The index is left
// out: it only repeats what the shards say. With WithHashCache, files that have
// not changed since are not read again.
func (c *Checkpoint) Hash(ctx context.Context) (string, error) {
	names := []string{configName}
	for _, s := range c.shards {
		names = append(names, s.name)
	}
	slices.Sort(names)
	lines := make([]string, len(names))
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, name := range names {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			lines[i], errs[i] = c.hashLine(ctx, name)
		})
	}
	wg.Wait()
	whole := sha256.New()
	for i, line := range lines {
		if errs[i] != nil {
			return "", errs[i]
		}
		_, _ = io.WriteString(whole, line)
	}
	return hex.EncodeToString(whole.Sum(nil)), nil
}

func (c *Checkpoint) hashLine(ctx context.Context, name string) (string, error) {
	path := filepath.Join(c.dir, name)
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	cache := hashCache{dir: c.hashCache}
	key := keyOf(path, info)
	sum, ok := cache.load(key)
	if !ok {
		if sum, err = hashContent(ctx, f); err != nil {
			return "", fmt.Errorf("hash %s: %w", path, err)
		}
		// A file that changed while it was read has no hash worth keeping.
		if now, err := f.Stat(); err == nil && keyOf(path, now) == key {
			cache.store(key, sum)
		}
	}
	return fmt.Sprintf("%s %d %s\n", name, info.Size(), sum), nil
}

func hashContent(ctx context.Context, r io.Reader) (string, error) {
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// hashKey is what has to be unchanged for a hash to hold. The change time, where
// the system has one, catches tools that set the modification time back.
type hashKey struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`
	ModTime int64  `json:"mtime_ns"`
	Changed int64  `json:"ctime_ns"`
	Inode   uint64 `json:"inode"`
}

func keyOf(path string, info os.FileInfo) hashKey {
	// Links of the hub's cache lead to the same blob: hash it once.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	inode, changed := identity(info)
	return hashKey{Path: path, Size: info.Size(), ModTime: info.ModTime().UnixNano(), Changed: changed, Inode: inode}
}

// hashCache holds one small file per hashed file, so that processes never
// fight over one. Anything unreadable in it counts as absent, and failing to
// write it costs only time.
type hashCache struct{ dir string }

type hashEntry struct {
	hashKey
	Sum string `json:"sha256"`
}

func (h hashCache) file(key hashKey) string {
	sum := sha256.Sum256([]byte(key.Path))
	return filepath.Join(h.dir, hex.EncodeToString(sum[:])+".json")
}

func (h hashCache) load(key hashKey) (string, bool) {
	if h.dir == "" {
		return "", false
	}
	raw, err := os.ReadFile(h.file(key))
	var e hashEntry
	if err != nil || json.Unmarshal(raw, &e) != nil || e.hashKey != key {
		return "", false
	}
	sum, err := hex.DecodeString(e.Sum)
	return e.Sum, err == nil && len(sum) == sha256.Size
}

func (h hashCache) store(key hashKey, sum string) {
	if h.dir == "" || os.MkdirAll(h.dir, 0o755) != nil {
		return
	}
	raw, err := json.Marshal(hashEntry{key, sum})
	if err != nil {
		return
	}
	tmp, err := os.CreateTemp(h.dir, "partial-*")
	if err != nil {
		return
	}
	_, err = tmp.Write(append(raw, '\n'))
	if closed := tmp.Close(); err == nil && closed == nil && os.Rename(tmp.Name(), h.file(key)) == nil {
		return
	}
	_ = os.Remove(tmp.Name())
}
