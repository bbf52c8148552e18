//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is a shared library that was opened.
type library struct {
	path   string
	handle uintptr
}

// soname is a name that a library may have, and the CUDA version it belongs to.
type soname struct {
	name  string
	major int
}

// wanted is a library to open: the names it goes by, the newest first, and the package
// of Python's that has it, if one does.
type wanted struct {
	what, python string
	names        []soname
}

func theDriver() wanted { return wanted{"the NVIDIA driver", "", []soname{{"libcuda.so.1", 0}}} }

func theBLAS() wanted {
	return wanted{"cuBLASLt", "nvidia-cublas", []soname{{"libcublasLt.so.13", 13}, {"libcublasLt.so.12", 12}, {"libcublasLt.so.11", 11}}}
}

func theCompiler() wanted {
	return wanted{"NVRTC", "nvidia-cuda-nvrtc", []soname{{"libnvrtc.so.13", 13}, {"libnvrtc.so.12", 12}, {"libnvrtc.so.11.2", 11}}}
}

// folders lists where libraries may lie, "" standing for where the system's loader
// looks: those that the environment names, then the usual ones. With COPPICE_CUDA
// that is the only one.
func folders(getenv func(string) string) (named, usual []string) {
	if dir := getenv("COPPICE_CUDA"); dir != "" {
		return []string{dir}, nil
	}
	add := func(to *[]string, patterns ...string) {
		for _, p := range patterns {
			found, _ := filepath.Glob(p)
			*to = append(*to, found...)
		}
	}
	toolkit := func(to *[]string, home string) {
		if home != "" {
			add(to, filepath.Join(home, "lib64"), filepath.Join(home, "targets", "*", "lib"))
		}
	}
	toolkit(&named, getenv("CUDA_HOME"))
	toolkit(&named, getenv("CUDA_PATH"))
	usual = []string{""}
	toolkit(&usual, "/usr/local/cuda")
	for _, root := range []string{getenv("VIRTUAL_ENV"), getenv("CONDA_PREFIX"), filepath.Join(getenv("HOME"), ".local"), "/usr/local", "/usr"} {
		if root == "" || root == ".local" {
			continue
		}
		for _, packages := range []string{"site-packages", "dist-packages"} {
			add(&usual, filepath.Join(root, "lib", "python3*", packages, "nvidia", "*", "lib"))
		}
	}
	if conda := getenv("CONDA_PREFIX"); conda != "" {
		add(&usual, filepath.Join(conda, "lib"))
	}
	add(&usual, "/usr/local/cuda-*/targets/*/lib", "/usr/lib/wsl/lib")
	return named, usual
}

// missingError says which library was not found, what was looked for and where.
type missingError struct {
	wanted
	folders []string
	newest  int    // CUDA versions above are not looked for, 0 for all
	broken  string // what the loader said of one that lies there
	newer   string // one that lies there and needs a newer driver
}

func (m *missingError) Error() string {
	var names, where []string
	for _, n := range m.names {
		if m.newest == 0 || n.major <= m.newest {
			names = append(names, n.name)
		}
	}
	for _, f := range m.folders {
		if f == "" {
			f = "the system's libraries"
		}
		where = append(where, f)
	}
	text := fmt.Sprintf("%s was not found: looked for %s in %s", m.what, strings.Join(names, ", "), strings.Join(where, ", "))
	if m.broken != "" {
		text += "; " + m.broken
	}
	if m.newer != "" {
		text += fmt.Sprintf("; %s needs a newer driver than this one, of CUDA %d", m.newer, m.newest)
	}
	if m.python != "" {
		text += fmt.Sprintf("; install the CUDA toolkit, or pip install %s, or name the toolkit's folder in CUDA_HOME", m.pip())
	}
	return text
}

// pip is the package of Python's that suits the driver.
func (m *missingError) pip() string {
	if m.newest >= 13 {
		return m.python
	}
	return fmt.Sprintf("%s-cu%d", m.python, m.newest)
}

// openLibrary opens the newest there is in the folders that the environment names, or
// else in the usual ones. Versions newer than what the driver knows are left out;
// newest 0 knows all.
func openLibrary(w wanted, newest int, getenv func(string) string) (library, error) {
	named, usual := folders(getenv)
	missing := &missingError{wanted: w, folders: append(named, usual...), newest: newest}
	for _, some := range [][]string{named, usual} {
		for _, n := range w.names {
			for _, dir := range some {
				if lib, ok := missing.open(dir, n); ok {
					return lib, nil
				}
			}
		}
	}
	return library{}, missing
}

// open opens a library of a folder, or notes why it cannot.
func (m *missingError) open(dir string, n soname) (library, bool) {
	path := filepath.Join(dir, n.name)
	_, err := os.Stat(path)
	there := dir != "" && err == nil
	if m.newest != 0 && n.major > m.newest {
		if there {
			m.newer = path
		}
		return library{}, false
	}
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil && there {
		m.broken = err.Error()
	}
	return library{path: path, handle: handle}, err == nil
}

// symbol is an entry point of a library.
type symbol struct {
	name    string
	address uintptr
}

// symbols resolves entry points by name, all or none.
func (l library) symbols(into map[string]*symbol) error {
	for name, s := range into {
		p, err := purego.Dlsym(l.handle, name)
		if err != nil {
			return fmt.Errorf("%s has no %s: it is too old", l.path, name)
		}
		*s = symbol{name, p}
	}
	return nil
}

// call calls an entry point and returns its status.
func (s symbol) call(args ...uintptr) int32 {
	r, _, _ := purego.SyscallN(s.address, args...)
	return int32(r)
}

// value calls an entry point that returns a pointer or a size.
func (s symbol) value(args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(s.address, args...)
	return r
}

// text reads a C string.
func text(p uintptr) string {
	if p == 0 {
		return ""
	}
	var out []byte
	for at := *(*unsafe.Pointer)(unsafe.Pointer(&p)); len(out) < 4096 && *(*byte)(at) != 0; at = unsafe.Add(at, 1) {
		out = append(out, *(*byte)(at))
	}
	return string(out)
}

// onHeap is a value that C may be given the address of: one that stays where it is.
// What a function returns that is not inlined is never on a stack, which moves as it
// grows. The caller keeps it alive till the call has returned.
//
//go:noinline
func onHeap[T any]() *T { return new(T) }

// cstring is a string as C wants it, on the heap likewise.
//
//go:noinline
func cstring(s string) *byte { return &append([]byte(s), 0)[0] }
