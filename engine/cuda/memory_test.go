//go:build !nopurego && linux && (amd64 || arm64)

package cuda_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cuda"
	"github.com/coppice-ml/coppice/engine/cuda/cudatest"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// TestPinned: layers whose pages stay are copied straight from the mapped file, with
// the same bits; those that share a page, and those that are converted, too. In the
// end nothing is registered.
func TestPinned(t *testing.T) {
	for _, dtype := range []string{"float32", "bfloat16"} {
		m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 3, DType: "BF16"}))
		f := cudatest.New(t)
		e := start(t, f, cuda.Options{DType: dtype}, cuda.Tuning{Staged: 1 << 12})
		want, err := score(t.Context(), e, m)
		if err != nil {
			t.Fatal(err)
		}
		mapped := e.Memory(m, engine.LayerOptions{}).Host.Mapped
		var release []func()
		for _, i := range []int{1, 0} {
			release = append(release, e.(engine.Pinner).Pin(m, i))
			got, err := score(t.Context(), e, m)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: scores differ with layer %d pinned: %v", dtype, i, err)
			}
		}
		// pages at either end of a tensor's neighbours count once
		if n := f.Count(t, "registered"); n < int(mapped) || n > int(2*mapped)+8<<12 {
			t.Errorf("%s: %d bytes are registered for two layers of %d", dtype, n, mapped)
		}
		for _, r := range release {
			r()
			if got, err := score(t.Context(), e, m); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: scores differ after a layer is let go: %v", dtype, err)
			}
		}
		if n := f.Count(t, "registered"); n != 0 {
			t.Errorf("%s: %d bytes are still registered", dtype, n)
		}
	}
}

// TestPinRefused: what the driver does not register comes as without.
func TestPinRefused(t *testing.T) {
	m := small(t)
	f := cudatest.New(t)
	want := right(t, f, m)
	e := start(t, f, cuda.Options{}, cuda.Tuning{})
	f.Plant(t, "status cuMemHostRegister_v2 801 1")
	release := e.(engine.Pinner).Pin(m, 0)
	got, err := score(t.Context(), e, m)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("scores differ: %v", err)
	}
	release()
}

// TestTied: a tied head projects with the embedding's table, which is there once and
// goes with the last of the two.
func TestTied(t *testing.T) {
	m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 1, DType: "BF16", Tied: true, Vocab: 3000}))
	for dtype, once := range map[string]bool{"bfloat16": true, "float32": false} {
		f := cudatest.New(t)
		e := start(t, f, cuda.Options{DType: dtype}, cuda.Tuning{Staged: 1 << 12})
		table := 3000 * m.Spec.Hidden * 2
		embed, err := e.Embedding(m, engine.EmbeddingOptions{})
		if err != nil {
			t.Fatal(err)
		}
		before := f.Count(t, "used")
		head, err := e.Head(m, engine.HeadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if took := f.Count(t, "used") - before; (took < table) != once {
			t.Errorf("%s: a tied head takes %d bytes beside a table of %d", dtype, took, table)
		}
		embed.Release()
		x, err := e.NewHidden(m, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(x.Write(engine.Values{F32: make([]float32, m.Spec.Hidden)}), head.Logits(t.Context(), x, []int{0}, make([]float32, 3000))); err != nil {
			t.Error(err)
		}
		x.Release()
		head.Release()
	}
}

// TestNoRoom: a device without room says how much was wanted, is there and allowed.
func TestNoRoom(t *testing.T) {
	f := cudatest.New(t)
	e := start(t, f, cuda.Options{Memory: 40 << 20}, cuda.Tuning{})
	_, err := e.NewHidden(small(t), 1<<20)
	for _, part := range []string{"out of memory on the GPU", "MiB more do not fit", "of at most 40 MiB"} {
		if !errors.Is(err, engine.ErrMemory) || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want one that says %s", err, part)
		}
	}
}

// TestLimiter: what bounds a forward pass is measured on the device, and what time
// goes to is said by kernel; scores stay as they are.
func TestLimiter(t *testing.T) {
	m := small(t)
	f := cudatest.New(t)
	want := right(t, f, m)
	e := start(t, f, cuda.Options{}, cuda.Tuning{})
	l := e.(engine.Limiter)
	run, way := l.Products(t.Context(), []engine.Product{{M: 20, N: 64, K: 32}, {M: 20, N: 300, K: 64}})
	reads, err := l.Reads(m)
	if err != nil {
		t.Fatal(err)
	}
	if p, r := run(), reads(); p <= 0 || r <= 0 || way == "" {
		t.Errorf("products take %v (%s), reading %v", p, way, r)
	}
	shares, err := l.Profile(func() error {
		got, err := score(t.Context(), e, m)
		if !slices.Equal(got, want) {
			t.Error("scores differ while time is taken")
		}
		return err
	})
	for _, name := range []string{"products", "attend", "gate", "softmax_block"} {
		if !slices.ContainsFunc(shares, func(s engine.Share) bool { return s.Name == name && s.Seconds > 0 }) {
			t.Errorf("no time is taken of %s: %v, %v", name, shares, err)
		}
	}
}
