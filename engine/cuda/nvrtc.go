//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"unsafe"
)

// compiler binds NVRTC.
type compiler struct {
	library
	version, errorString, create, destroy, compile symbol
	cubinSize, cubin, logSize, log                 symbol
	is                                             string // "13.0"
}

func openCompiler(newest int, getenv func(string) string) (*compiler, error) {
	lib, err := openLibrary(theCompiler(), newest, getenv)
	if err != nil {
		return nil, err
	}
	c := &compiler{library: lib}
	err = lib.symbols(map[string]*symbol{
		"nvrtcVersion": &c.version, "nvrtcGetErrorString": &c.errorString, "nvrtcCreateProgram": &c.create, "nvrtcDestroyProgram": &c.destroy,
		"nvrtcCompileProgram": &c.compile, "nvrtcGetCUBINSize": &c.cubinSize, "nvrtcGetCUBIN": &c.cubin,
		"nvrtcGetProgramLogSize": &c.logSize, "nvrtcGetProgramLog": &c.log,
	})
	if err != nil {
		return nil, err
	}
	v := onHeap[[2]int32]()
	if err := c.do(c.version, uintptr(unsafe.Pointer(&v[0])), uintptr(unsafe.Pointer(&v[1]))); err != nil {
		return nil, err
	}
	c.is = fmt.Sprintf("%d.%d", v[0], v[1])
	return c, nil
}

func (c *compiler) do(s symbol, args ...uintptr) error {
	status := s.call(args...)
	if status == 0 {
		return nil
	}
	return &callError{call: s.name, status: status, text: text(c.errorString.value(uintptr(status)))}
}

// program is the kernels' source: the file to compile and what it includes.
type program struct {
	main  string
	files map[string]string
}

// kernelSource reads the embedded program.
func kernelSource() (program, error) {
	p := program{main: "all.cu", files: map[string]string{}}
	entries, err := fs.ReadDir(sources, "kernels")
	for _, e := range entries {
		var raw []byte
		if raw, err = fs.ReadFile(sources, path.Join("kernels", e.Name())); err != nil {
			break
		}
		p.files[e.Name()] = string(raw)
	}
	return p, err
}

// hash tells programs, their options and who compiles them apart.
func (p program) hash(options []string, compiler string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		fmt.Fprintf(h, "%s %d\n%s", name, len(p.files[name]), p.files[name])
	}
	fmt.Fprintln(h, options, compiler)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// cubinOf returns the program compiled for a device, from the cache where it is
// there. A cache that cannot be read or written is none.
func (c *compiler) cubinOf(p program, options []string, cache string) ([]byte, error) {
	if cache == "" {
		return c.build(p, options)
	}
	file := filepath.Join(cache, "kernels-"+p.hash(options, c.is+c.path)+".cubin")
	if raw, err := os.ReadFile(file); err == nil && len(raw) > 0 {
		return raw, nil
	}
	raw, err := c.build(p, options)
	if err == nil {
		writeWhole(file, raw)
	}
	return raw, err
}

// words pins strings for C.
type words struct{ runtime.Pinner }

func (w *words) one(s string) uintptr {
	p := cstring(s)
	w.Pin(p)
	return uintptr(unsafe.Pointer(p))
}

func (w *words) list(ss []string) uintptr {
	out := make([]uintptr, len(ss)+1)
	for i, s := range ss {
		out[i] = w.one(s)
	}
	w.Pin(&out[0])
	return uintptr(unsafe.Pointer(&out[0]))
}

// build compiles.
func (c *compiler) build(p program, options []string) ([]byte, error) {
	var w words
	defer w.Unpin()
	names := slices.Sorted(maps.Keys(p.files))
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = p.files[n]
	}
	handle := new(uintptr)
	w.Pin(handle)
	at := uintptr(unsafe.Pointer(handle))
	err := c.do(c.create, at, w.one(`#include "`+p.main+`"`+"\n"), w.one("coppice.cu"), uintptr(len(names)), w.list(texts), w.list(names))
	if err != nil {
		return nil, err
	}
	defer c.destroy.call(at)
	if err := c.do(c.compile, *handle, uintptr(len(options)), w.list(options)); err != nil {
		log, _ := c.bytes(c.logSize, c.log, *handle)
		return nil, fmt.Errorf("%w: %s", err, log)
	}
	return c.bytes(c.cubinSize, c.cubin, *handle)
}

// bytes fetches what a pair of functions gives: its size, then itself.
func (c *compiler) bytes(size, get symbol, handle uintptr) ([]byte, error) {
	n := onHeap[uint64]()
	if err := c.do(size, handle, uintptr(unsafe.Pointer(n))); err != nil {
		return nil, err
	}
	out := make([]byte, *n+1)
	if err := c.do(get, handle, uintptr(unsafe.Pointer(&out[0]))); err != nil {
		return nil, err
	}
	return out[:*n], nil
}
