//go:build !nopurego && linux && (amd64 || arm64)

package cuda_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cuda"
	"github.com/coppice-ml/coppice/engine/cuda/cudatest"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

func small(t testing.TB) *model.Model {
	return enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 2, AttnBias: true}))
}

// score runs a model over two sequences of 40 and 9 tokens, the second after the
// first 8 of a parent, and scores every token of them.
func score(ctx context.Context, e engine.Engine, m *model.Model) (out []engine.TokenScore, err error) {
	b := &engine.Batch{}
	for i := range 40 {
		b.Tokens = append(b.Tokens, int32(3*i%m.Spec.Vocab))
	}
	ids := b.Tokens
	b.Tokens = nil
	b.Add(ids, engine.NoParent)
	b.Add(ids[:9], b.Add(ids[20:28], engine.NoParent))
	x, err := e.NewHidden(m, b.Len())
	if err != nil {
		return nil, err
	}
	defer x.Release()
	embed, err := e.Embedding(m, engine.EmbeddingOptions{})
	if err != nil {
		return nil, err
	}
	defer embed.Release()
	if err := embed.Forward(ctx, b, x); err != nil {
		return nil, err
	}
	for i := range m.Spec.Layers {
		l, err := e.Fetch(m, i, engine.LayerOptions{Streams: true}).Wait(ctx)
		if err != nil {
			return nil, err
		}
		err = l.Forward(ctx, &engine.Call{Batch: b}, x, x)
		l.Release()
		if err != nil {
			return nil, err
		}
	}
	head, err := e.Head(m, engine.HeadOptions{})
	if err != nil {
		return nil, err
	}
	defer head.Release()
	targets := make([]engine.Target, b.Len())
	for i := range targets {
		targets[i] = engine.Target{Row: i, Token: ids[i%len(ids)]}
	}
	out = make([]engine.TokenScore, len(targets))
	return out, head.LogProbs(ctx, x, targets, out)
}

// right are the scores where nothing is wrong.
func right(t testing.TB, f *cudatest.Fake, m *model.Model) []engine.TokenScore {
	t.Helper()
	want, err := score(t.Context(), start(t, f, cuda.Options{}, cuda.Tuning{}), m)
	if err != nil {
		t.Fatal(err)
	}
	return want
}

// TestLibraries: each that is missing is named, with what was looked for and where;
// only a missing driver means that there is no GPU.
func TestLibraries(t *testing.T) {
	f := cudatest.New(t)
	for _, tt := range []struct {
		there []string
		want  []string
		noGPU bool
	}{
		{nil, []string{"the NVIDIA driver was not found", "libcuda.so.1"}, true},
		{[]string{"libcuda.so.1"}, []string{"NVRTC was not found", "libnvrtc.so.13, libnvrtc.so.12, libnvrtc.so.11.2", "pip install nvidia-cuda-nvrtc, or"}, false},
		{[]string{"libcuda.so.1", "libnvrtc.so.13"}, []string{"cuBLASLt was not found", "libcublasLt.so.13", "pip install nvidia-cublas, or"}, false},
	} {
		dir := t.TempDir()
		for _, name := range tt.there {
			if err := os.Symlink(filepath.Join(f.Dir, name), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		_, err := cuda.New(cuda.Options{Getenv: func(name string) string { return map[string]string{"COPPICE_CUDA": dir}[name] }})
		for _, want := range append(tt.want, dir) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("with %v: error %v, want one that says %s", tt.there, err, want)
			}
		}
		if errors.Is(err, cuda.ErrNoGPU) != tt.noGPU {
			t.Errorf("with %v: no GPU: %v", tt.there, err)
		}
	}
}

// TestRefused: what cannot be used is refused with the reason, before memory is
// taken of it.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		what  string
		value int
		o     cuda.Options
		want  string
		noGPU bool
	}{
		{"capability", 75, cuda.Options{}, "compute capability 7.5: 8.0 (Ampere) is the least", false},
		{"devices", 0, cuda.Options{}, "no NVIDIA GPU was found", true},
		{"devices", 2, cuda.Options{Device: 2}, "GPU 2 does not exist: there are 2", false},
		{"driver", 10020, cuda.Options{}, "knows CUDA 10.2: 11.0 is the least", false},
		{"driver", 12040, cuda.Options{}, "NVRTC was not found: looked for libnvrtc.so.12, libnvrtc.so.11.2", false},
		{"driver", 12040, cuda.Options{}, "libnvrtc.so.13 needs a newer driver than this one, of CUDA 12; install the CUDA toolkit, or pip install nvidia-cuda-nvrtc-cu12, or", false},
		{"memory", 1 << 20, cuda.Options{}, "out of memory on the GPU", false},
		{"devices", 1, cuda.Options{DType: "float16"}, `dtype "float16" does not exist`, false},
	} {
		f := cudatest.New(t)
		f.Set(t, tt.what, tt.value)
		before := f.Count(t, "allocations")
		tt.o.Getenv = f.Getenv
		_, err := cuda.Start(tt.o, cuda.Tuning{})
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, cuda.ErrNoGPU) != tt.noGPU {
			t.Errorf("%s %d: error %v, want one that says %s", tt.what, tt.value, err, tt.want)
		}
		if f.Count(t, "allocations") != before {
			t.Errorf("%s %d: memory was taken", tt.what, tt.value)
		}
	}
}

// TestStatuses: a call of a library that fails is an error that names the call, or,
// where memory was short for a moment, is made good. No result is ever wrong.
func TestStatuses(t *testing.T) {
	m := small(t)
	f := cudatest.New(t)
	want := right(t, f, m)
	for _, fault := range []struct {
		call   string
		status int
	}{
		{"cuMemAlloc_v2", 2}, {"cuMemAlloc_v2", 214}, {"cuMemcpyHtoDAsync_v2", 719}, {"cuMemcpyDtoHAsync_v2", 1}, {"cuLaunchKernel", 700}, {"cuLaunchKernel", 1},
		{"cuEventQuery", 999}, {"cuEventRecord", 400}, {"cuStreamWaitEvent", 400}, {"cublasLtMatmul", 13}, {"cuModuleGetFunction", 500}, {"cuEventCreate", 2},
	} {
		for _, n := range []int{1, 5} {
			e := start(t, f, cuda.Options{}, cuda.Tuning{})
			f.Plant(t, fmt.Sprintf("status %s %d %d", fault.call, fault.status, n))
			got, err := score(t.Context(), e, m)
			f.Plant(t, "")
			switch {
			case err == nil && !slices.Equal(got, want):
				t.Errorf("%v: wrong scores", fault)
			case err == nil && (fault.call != "cuMemAlloc_v2" || fault.status != 2) && n == 1:
				t.Errorf("%v was not noticed", fault)
			case err != nil && (!strings.Contains(err.Error(), fault.call) || !strings.Contains(err.Error(), fmt.Sprint("status ", fault.status))):
				t.Errorf("%v: error %v does not name it", fault, err)
			}
			again, err := score(t.Context(), e, m)
			if err == nil && !slices.Equal(again, want) {
				t.Errorf("%v: wrong scores afterwards", fault)
			}
		}
	}
}

// TestFaultyKernels: a kernel that touches memory which is not the device's ends in
// an error that names it and the calls that were queued, and the engine is of no use
// afterwards and says so.
func TestFaultyKernels(t *testing.T) {
	m := small(t)
	for _, kernel := range []string{"embed", "attend", "gate", "softmax_block"} {
		f := cudatest.New(t)
		e := start(t, f, cuda.Options{}, cuda.Tuning{})
		f.Plant(t, "segfault "+kernel)
		_, err := score(t.Context(), e, m)
		for _, part := range []string{kernel, "ILLEGAL_ADDRESS", "queued before: "} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %v, want one that says %s", kernel, err, part)
			}
		}
		if _, err := score(t.Context(), e, m); err == nil || !strings.Contains(err.Error(), "cannot be used after an error") {
			t.Errorf("%s: afterwards: %v", kernel, err)
		}
	}
}

// TestHang: work that never ends is given up, at once where the context ends, else
// after a while.
func TestHang(t *testing.T) {
	m := small(t)
	f := cudatest.New(t)
	_ = right(t, f, m) // what has to be compiled and probed
	for _, cancels := range []bool{true, false} {
		f := cudatest.New(t)
		patience := 5 * time.Second // which starting takes on no machine
		if cancels {
			patience = time.Hour
		}
		e := start(t, f, cuda.Options{}, cuda.Tuning{Patience: patience})
		f.Plant(t, "hang attend")
		why := errors.New("stopped by the test")
		ctx, cancel := context.WithCancelCause(t.Context())
		if cancels {
			time.AfterFunc(200*time.Millisecond, func() { cancel(why) })
		}
		_, err := score(ctx, e, m)
		if cancels && !errors.Is(err, why) || !cancels && (err == nil || !strings.Contains(err.Error(), "the GPU hangs")) {
			t.Errorf("cancelled %v: %v", cancels, err)
		}
		f.Plant(t, "")
		cancel(nil)
	}
}

// TestPlanted: the fake finds what is wrong with kernels and with the order of
// streams, so that passing on it means something.
func TestPlanted(t *testing.T) {
	m := small(t)
	want := right(t, cudatest.New(t), m)
	for name, plant := range map[string]struct {
		file, old, new string
		want           string
	}{
		"a barrier is missing before keys are replaced": {"attend.cu", "barrier(); // until", "// until", "other bits in another order"},
		"a barrier is missing before keys are read":     {"attend.cu", "\t\t\tbarrier();\n\t\t\tUNROLL", "\t\t\tUNROLL", ""},
		"a barrier that not all threads meet":           {"attend.cu", "barrier(); // until", "if (threadIdx.x < 32) barrier(); // until", "barrier that not all threads come to"},
		"a lane leaves its warp":                        {"norm.cu", "int i = warp_of_grid();", "int i = warp_of_grid(); if (lane_of() == 5) return;", "not all lanes come to"},
		"a row too many":                                {"embed.cu", "y += (size_t)i * width;", "y += (size_t)(i + 15) * width;", "no memory of the device"},
		"an index outside shared memory":                {"attend.cu", "KEYS * (CHUNK + 1)", "KEYS * CHUNK / 2", "outside shared memory"},
		"no such function":                              {"gate.cu", "erfcf(", "erfcfff(", "nvrtcCompileProgram"},
	} {
		t.Run(name, func(t *testing.T) {
			f := cudatest.New(t)
			edit := func(files map[string]string) {
				if !strings.Contains(files[plant.file], plant.old) {
					t.Errorf("%s has no %q", plant.file, plant.old)
				}
				files[plant.file] = strings.ReplaceAll(files[plant.file], plant.old, plant.new)
			}
			e, err := cuda.Start(cuda.Options{DType: "float32", Getenv: f.Getenv, Probes: cudatest.Probes()}, cuda.Tuning{Edit: edit})
			if err == nil {
				var got []engine.TokenScore
				got, err = score(t.Context(), e, m)
				_ = e.Close()
				if plant.want == "" && (err != nil || !slices.Equal(got, want)) {
					return // both orders read what is not there yet: not a number twice
				}
			}
			if err == nil || !strings.Contains(err.Error(), plant.want) {
				t.Errorf("error %v, want one that says %q", err, plant.want)
			}
		})
	}
}

// TestStreamOrder: without the compute stream's wait for weights, which the copy
// stream brings, scores are not those of the weights.
func TestStreamOrder(t *testing.T) {
	m := small(t)
	f := cudatest.New(t)
	want := right(t, f, m)
	got, err := score(t.Context(), start(t, f, cuda.Options{}, cuda.Tuning{Unwaited: true}), m)
	if err == nil && slices.EqualFunc(got, want, func(a, b engine.TokenScore) bool { return math.Abs(a.LogProb-b.LogProb) < 1e-3 }) {
		t.Error("streams that do not wait for each other give the right scores: the fake orders too much")
	}
}

// TestUnprobed: algorithms as the library likes them for each number of rows do not
// keep bits, which probing is for.
func TestUnprobed(t *testing.T) {
	m := small(t)
	f := cudatest.New(t)
	e := start(t, f, cuda.Options{DType: "float32"}, cuda.Tuning{Unprobed: true})
	one, err := output(t, e, m, 1)
	many, err2 := output(t, e, m, 200)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if slices.Equal(one, many[:len(one)]) {
		t.Error("algorithms that were not probed keep bits: the fake's are too good")
	}
}

// output is what the first layer makes of sequences of one token each.
func output(t testing.TB, e engine.Engine, m *model.Model, n int) ([]float32, error) {
	t.Helper()
	b := &engine.Batch{}
	for i := range n {
		b.Add([]int32{int32(i % m.Spec.Vocab)}, engine.NoParent)
	}
	x, err := e.NewHidden(m, n)
	if err != nil {
		return nil, err
	}
	defer x.Release()
	embed, err := e.Embedding(m, engine.EmbeddingOptions{})
	if err != nil {
		return nil, err
	}
	defer embed.Release()
	l, err := e.Fetch(m, 0, engine.LayerOptions{}).Wait(t.Context())
	if err != nil {
		return nil, err
	}
	defer l.Release()
	err = errors.Join(embed.Forward(t.Context(), b, x), l.Forward(t.Context(), &engine.Call{Batch: b}, x, x))
	if err != nil {
		return nil, err
	}
	return x.Host(t.Context())
}

// TestSteady: calls of settled sizes take no memory of the device, and in the end
// all is given back.
func TestSteady(t *testing.T) {
	m := small(t)
	f := cudatest.New(t)
	others := f.Count(t, "left") // of tests that broke their engine
	e := start(t, f, cuda.Options{}, cuda.Tuning{Pooled: true})
	if got := e.Info().Provider; got != "cuBLASLt 13.0.0 on fake GPU" {
		t.Errorf("provider %q", got)
	}
	var want []engine.TokenScore
	before := 0
	for i := range 5 {
		got, err := score(t.Context(), e, m)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && !slices.Equal(got, want) {
			t.Error("scores differ from pass to pass")
		}
		if want = got; i == 1 {
			before = f.Count(t, "allocations")
		}
	}
	if took := f.Count(t, "allocations") - before; took != 0 {
		t.Errorf("%d allocations in passes like others before", took)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if left := f.Count(t, "left"); left != others {
		t.Errorf("%d things are left behind", left-others)
	}
}
