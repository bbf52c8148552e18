//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"fmt"
	"runtime"
	"unsafe"
)

// blas binds cuBLASLt.
type blas struct {
	library
	create, destroy, version, statusText   symbol
	descCreate, descDestroy, descSet       symbol
	layoutCreate, layoutDestroy            symbol
	preferCreate, preferDestroy, preferSet symbol
	heuristic, matmul                      symbol
	is                                     string // "13.0.1"
	handle, desc                           uintptr
	layouts                                map[layout]uintptr
	args                                   *blasArgs
}

// blasArgs is what calls read and write.
type blasArgs struct {
	alpha, beta float32
	value       uint64
	out         uintptr
	count       int32
	results     [maxAlgorithms]result
}

// algorithm is a cublasLtMatmulAlgo_t, opaque.
type algorithm [64]byte

// result is a cublasLtMatmulHeuristicResult_t.
type result struct {
	algorithm algorithm
	workspace uint64
	status    int32
	waves     float32
	_         [4]int32
}

// Values of cuBLASLt's enumerations, the same in versions 11 to 13.
const (
	computeF32         = 68 // CUBLAS_COMPUTE_32F: no TF32
	typeF32            = 0  // CUDA_R_32F
	typeBF16           = 14 // CUDA_R_16BF
	descTransA         = 3
	opTransposed       = 1
	preferWorkspace    = 1
	preferReductions   = 3
	maxAlgorithms      = 16
	workspaceBytes     = 32 << 20
	blasAlreadyTooMany = 512 // layouts kept
)

// layout is a matrix in memory: rows of the C library's, which count down a column.
type layout struct {
	kind    uintptr // typeF32 or typeBF16
	rows    int
	columns int
}

func openBLAS(newest int, getenv func(string) string) (*blas, error) {
	lib, err := openLibrary(theBLAS(), newest, getenv)
	if err != nil {
		return nil, err
	}
	b := &blas{library: lib, layouts: map[layout]uintptr{}, args: &blasArgs{alpha: 1}}
	err = lib.symbols(map[string]*symbol{
		"cublasLtCreate": &b.create, "cublasLtDestroy": &b.destroy, "cublasLtGetVersion": &b.version, "cublasLtGetStatusString": &b.statusText,
		"cublasLtMatmulDescCreate": &b.descCreate, "cublasLtMatmulDescDestroy": &b.descDestroy, "cublasLtMatmulDescSetAttribute": &b.descSet,
		"cublasLtMatrixLayoutCreate": &b.layoutCreate, "cublasLtMatrixLayoutDestroy": &b.layoutDestroy,
		"cublasLtMatmulPreferenceCreate": &b.preferCreate, "cublasLtMatmulPreferenceDestroy": &b.preferDestroy,
		"cublasLtMatmulPreferenceSetAttribute": &b.preferSet, "cublasLtMatmulAlgoGetHeuristic": &b.heuristic, "cublasLtMatmul": &b.matmul,
	})
	if err != nil {
		return nil, err
	}
	v := int(b.version.value())
	if b.is = fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100); v < 100000 {
		b.is = fmt.Sprintf("%d.%d.%d", v/1000, v/100%10, v%100)
	}
	return b, nil
}

func (b *blas) do(s symbol, args ...uintptr) error {
	status := s.call(args...)
	if status == 0 {
		return nil
	}
	return &callError{call: s.name, status: status, text: text(b.statusText.value(uintptr(status)))}
}

// made calls an entry point that writes a handle through its first argument.
func (b *blas) made(s symbol, args ...uintptr) (uintptr, error) {
	err := b.do(s, append([]uintptr{uintptr(unsafe.Pointer(&b.args.out))}, args...)...)
	return b.args.out, err
}

// open makes the handle, and the one description that all products have: y = x wᵀ,
// inputs of one type, sums and outputs in float32.
func (b *blas) open() (err error) {
	if b.handle, err = b.made(b.create); err != nil {
		return err
	}
	if b.desc, err = b.made(b.descCreate, computeF32, typeF32); err != nil {
		return err
	}
	b.args.value = opTransposed
	return b.do(b.descSet, b.desc, descTransA, uintptr(unsafe.Pointer(&b.args.value)), 4)
}

func (b *blas) close() {
	b.forget()
	b.descDestroy.call(b.desc)
	b.destroy.call(b.handle)
}

func (b *blas) forget() {
	for _, l := range b.layouts {
		b.layoutDestroy.call(l)
	}
	clear(b.layouts)
}

// layout returns the description of a matrix.
func (b *blas) layout(l layout) (uintptr, error) {
	if have, ok := b.layouts[l]; ok {
		return have, nil
	}
	if len(b.layouts) >= blasAlreadyTooMany {
		b.forget()
	}
	made, err := b.made(b.layoutCreate, l.kind, uintptr(l.rows), uintptr(l.columns), uintptr(l.rows))
	if err == nil {
		b.layouts[l] = made
	}
	return made, err
}

// shape is what a product's algorithm depends on: y [n, out] = x [n, in] w [out, in]ᵀ.
type shape struct{ out, in int }

// product is a call: its matrices, and how it is computed.
type product struct {
	shape
	half      bool // inputs are bfloat16
	n         int
	w, x, y   address
	algorithm algorithm
	workspace buffer
	stream    uintptr
}

// matrices describes w, x and y.
func (b *blas) matrices(p shape, half bool, n int) (out [3]uintptr, err error) {
	in := uintptr(typeF32)
	if half {
		in = typeBF16
	}
	for i, l := range []layout{{in, p.in, p.out}, {in, p.in, n}, {typeF32, p.out, n}} {
		if out[i], err = b.layout(l); err != nil {
			return out, err
		}
	}
	return out, nil
}

// run queues a product.
func (b *blas) run(p product) error {
	if len(b.layouts)+3 > blasAlreadyTooMany {
		b.forget() // here, not between the three of one product
	}
	m, err := b.matrices(p.shape, p.half, p.n)
	if err != nil {
		return err
	}
	chosen := onHeap[algorithm]()
	*chosen = p.algorithm
	err = b.do(b.matmul, b.handle, b.desc, uintptr(unsafe.Pointer(&b.args.alpha)), uintptr(p.w), m[0], uintptr(p.x), m[1],
		uintptr(unsafe.Pointer(&b.args.beta)), uintptr(p.y), m[2], uintptr(p.y), m[2],
		uintptr(unsafe.Pointer(chosen)), uintptr(p.workspace.at), uintptr(p.workspace.size), p.stream)
	runtime.KeepAlive(chosen)
	if err != nil {
		return fmt.Errorf("product [%d, %d] x [%d, %d]: %w", p.n, p.in, p.in, p.out, err)
	}
	return nil
}

// algorithms asks for what the library would use for n rows, the best first.
// Without split is without those that split sums by the number of rows.
func (b *blas) algorithms(p shape, half bool, n int, split bool) ([]result, error) {
	if len(b.layouts)+3 > blasAlreadyTooMany {
		b.forget()
	}
	m, err := b.matrices(p, half, n)
	if err != nil {
		return nil, err
	}
	prefer, err := b.made(b.preferCreate)
	if err != nil {
		return nil, err
	}
	defer b.preferDestroy.call(prefer)
	value := uintptr(unsafe.Pointer(&b.args.value))
	if b.args.value = workspaceBytes; true {
		err = b.do(b.preferSet, prefer, preferWorkspace, value, 8)
	}
	if b.args.value = 0; err == nil && !split {
		err = b.do(b.preferSet, prefer, preferReductions, value, 4)
	}
	if err != nil {
		return nil, err
	}
	err = b.do(b.heuristic, b.handle, b.desc, m[0], m[1], m[2], m[2], prefer, maxAlgorithms,
		uintptr(unsafe.Pointer(&b.args.results[0])), uintptr(unsafe.Pointer(&b.args.count)))
	if err != nil {
		return nil, fmt.Errorf("algorithms for [%d, %d] x [%d, %d]: %w", n, p.in, p.in, p.out, err)
	}
	var out []result
	for _, r := range b.args.results[:b.args.count] {
		if r.status == 0 && r.workspace <= workspaceBytes {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("cuBLASLt has no algorithm for [%d, %d] x [%d, %d]", n, p.in, p.in, p.out)
	}
	return out, nil
}
