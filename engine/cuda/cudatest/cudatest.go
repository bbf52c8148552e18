//go:build !nopurego && linux && (amd64 || arm64)

// Package cudatest stands in for an NVIDIA GPU in tests: fakes of the driver, of
// cuBLASLt and of NVRTC, written in C++ in the folder fake and built by the host's
// compiler when a test asks for them. They check every argument and range, run
// queued work as late as CUDA allows, and run the kernels themselves, each launch
// twice in random orders of its threads.
//
// Only tests import it. Passing here is not passing on a GPU: how fast kernels are,
// what a real compiler makes of them and real algorithms do, only a GPU shows.
package cudatest

import (
	"embed"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ebitengine/purego"
)

//go:embed fake
var sources embed.FS

// names that the fake answers to.
func names() []string { return []string{"libcuda.so.1", "libcublasLt.so.13", "libnvrtc.so.13"} }

// Fake is a fake GPU and its libraries.
type Fake struct {
	// Dir holds the libraries; Cache, of the test's process, what was compiled.
	Dir, Cache string
	handle     uintptr
	kept       [][]byte // strings that the fake was given
}

// New builds the fake, or finds it built, and makes it as at first. It skips the test
// where there is no C++ compiler. Fakes of one process are one GPU.
func New(t testing.TB) *Fake {
	t.Helper()
	compiler, err := exec.LookPath("g++")
	if err != nil {
		t.Skip("no g++, which builds the fake GPU")
	}
	dir, err := build(compiler)
	if err != nil {
		t.Fatal(err)
	}
	f := &Fake{Dir: dir, Cache: filepath.Join(dir, "cache")}
	if f.handle, err = purego.Dlopen(filepath.Join(dir, names()[0]), purego.RTLD_NOW|purego.RTLD_LOCAL); err != nil {
		t.Fatal(err)
	}
	seed := seed()
	t.Logf("the fake GPU's seed: %d", seed)
	f.call(t, "fake_reset", uintptr(seed))
	t.Cleanup(func() { f.call(t, "fake_plant", f.text("")) })
	return f
}

// Probes suit the fake, whose products take long: its algorithms differ at fewer rows
// than these.
func Probes() []int { return []int{8, 16, 64, 128} }

// Getenv is an environment that has only the fake.
func (f *Fake) Getenv(name string) string {
	if name == "COPPICE_CUDA" {
		return f.Dir
	}
	return ""
}

// Plant plants a fault: "status CALL NUMBER N" makes the Nth CALL from now return
// NUMBER, "hang KERNEL" never end a kernel, "segfault KERNEL" give it wrong memory.
func (f *Fake) Plant(t testing.TB, fault string) { f.call(t, "fake_plant", f.text(fault)) }

// Set changes the GPU: its "memory" in bytes, its "capability" (90 for 9.0), how many
// "devices" there are, the CUDA version of its "driver" (13000).
func (f *Fake) Set(t testing.TB, what string, value int) {
	f.call(t, "fake_set", f.text(what), uintptr(value))
}

// Count says how many "allocations" and "launches" there were, how many bytes of the
// GPU are "used" and of the host "registered", and how many things are "left" that
// were not given back.
func (f *Fake) Count(t testing.TB, what string) int {
	return int(f.call(t, "fake_count", f.text(what)))
}

func (f *Fake) call(t testing.TB, name string, args ...uintptr) uintptr {
	t.Helper()
	p, err := purego.Dlsym(f.handle, name)
	if err != nil {
		t.Fatal(err)
	}
	r, _, _ := purego.SyscallN(p, args...)
	return r
}
