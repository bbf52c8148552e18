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
	major  int // of its soname
	handle uintptr
}

// soname is a name that a library may have, and the CUDA version it belongs to.
type soname struct {
	name  string
	major int
}

// driverNames, blasNames and compilerNames are the names the libraries go by, the
// newest first.
func driverNames() []soname { return []soname{{"libcuda.so.1", 0}} }

func blasNames() []soname {
	return []soname{{"libcublasLt.so.13", 13}, {"libcublasLt.so.12", 12}, {"libcublasLt.so.11", 11}}
}

func compilerNames() []soname {
	return []soname{{"libnvrtc.so.13", 13}, {"libnvrtc.so.12", 12}, {"libnvrtc.so.11.2", 11}}
}

// folders lists where libraries may lie, "" standing for where the system's loader
// looks. With COPPICE_CUDA that is the only one.
func folders(getenv func(string) string) []string {
	if dir := getenv("COPPICE_CUDA"); dir != "" {
		return []string{dir}
	}
	out := []string{""}
	add := func(patterns ...string) {
		for _, p := range patterns {
			found, _ := filepath.Glob(p)
			out = append(out, found...)
		}
	}
	for _, home := range []string{getenv("CUDA_HOME"), getenv("CUDA_PATH"), "/usr/local/cuda"} {
		if home != "" {
			add(filepath.Join(home, "lib64"), filepath.Join(home, "targets", "*", "lib"))
		}
	}
	for _, root := range []string{getenv("VIRTUAL_ENV"), getenv("CONDA_PREFIX"), filepath.Join(getenv("HOME"), ".local"), "/usr/local", "/usr"} {
		if root == "" || root == ".local" {
			continue
		}
		for _, packages := range []string{"site-packages", "dist-packages"} {
			add(filepath.Join(root, "lib", "python3*", packages, "nvidia", "*", "lib"))
		}
	}
	if conda := getenv("CONDA_PREFIX"); conda != "" {
		add(filepath.Join(conda, "lib"))
	}
	add("/usr/local/cuda-*/targets/*/lib", "/usr/lib/wsl/lib")
	return out
}

// missingError says which library was not found, what was looked for and where.
type missingError struct {
	what    string
	names   []soname
	folders []string
	newest  int    // CUDA versions above are not looked for, 0 for all
	broken  string // what the loader said of one that lies there
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
	return text
}

// openLibrary opens the first of names that there is. Versions newer than what the
// driver knows are left out; newest 0 knows all.
func openLibrary(what string, names []soname, newest int, getenv func(string) string) (library, error) {
	missing := &missingError{what: what, names: names, folders: folders(getenv), newest: newest}
	for _, dir := range missing.folders {
		for _, n := range names {
			if newest != 0 && n.major > newest {
				continue
			}
			path := filepath.Join(dir, n.name)
			handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
			if err == nil {
				return library{path: path, major: n.major, handle: handle}, nil
			}
			if _, absent := os.Stat(path); dir != "" && absent == nil {
				missing.broken = err.Error()
			}
		}
	}
	return library{}, missing
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
