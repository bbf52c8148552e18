package checkpoint_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/safetensors"
)

func TestCheckFindsAll(t *testing.T) {
	files := layered(t, 5)
	delete(files, "config.json")
	delete(files, "model-00002-of-00005.safetensors")
	files["model-00004-of-00005.safetensors"] = files["model-00004-of-00005.safetensors"][:300]
	problems := checkpoint.Check(context.Background(), makeDir(t, files), true, nil)
	var all []string
	for _, p := range problems {
		all = append(all, p.Error())
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{"no config.json", "00002-of-00005.safetensors: this file of the weights is missing", "bytes are missing"} {
		if !strings.Contains(text, want) {
			t.Errorf("problems lack %q:\n%s", want, text)
		}
	}
	if len(problems) != 3 {
		t.Errorf("%d problems:\n%s", len(problems), text)
	}
}

func TestSoundCheckpointHasNoProblems(t *testing.T) {
	c := mustOpen(t, makeDir(t, layered(t, 3)))
	var last, total int64
	problems := c.Problems(context.Background(), true, func(done, all int64) { last, total = done, all })
	if len(problems) > 0 || last != 1000 || total != 1000 {
		t.Errorf("%v, progress %d of %d", problems, last, total)
	}
}

// half returns BF16 and F16 values with the given bit patterns at the given places.
func half(n int, bits map[int]uint16) []byte {
	b := make([]byte, 2*n)
	for i := range n {
		binary.LittleEndian.PutUint16(b[2*i:], 0x3c00)
	}
	for i, v := range bits {
		binary.LittleEndian.PutUint16(b[2*i:], v)
	}
	return b
}

func TestDeepCheck(t *testing.T) {
	f32 := make([]byte, 4*21)
	binary.LittleEndian.PutUint32(f32[4*20:], math.Float32bits(float32(math.Inf(-1))))
	f64 := make([]byte, 8*3)
	binary.LittleEndian.PutUint64(f64, math.Float64bits(math.NaN()))
	large := half(1<<20, map[int]uint16{1<<19 + 3: 0x7f80, 1<<20 - 1: 0xffff})
	var b bytes.Buffer
	err := safetensors.Write(&b, nil, []safetensors.Entry{
		{Name: "bf16", DType: safetensors.BF16, Shape: []int{5, 7}, Data: half(35, map[int]uint16{10: 0x7f80, 11: 0xff81, 34: 0x7fff})},
		{Name: "bf16 large but finite", DType: safetensors.BF16, Shape: []int{20}, Data: half(20, map[int]uint16{3: 0x7f7f, 4: 0xff7f})},
		{Name: "f16", DType: safetensors.F16, Shape: []int{20}, Data: half(20, map[int]uint16{19: 0xfc00})},
		{Name: "f16 finite", DType: safetensors.F16, Shape: []int{20}, Data: half(20, map[int]uint16{19: 0x7bff})},
		{Name: "f32", DType: safetensors.F32, Shape: []int{3, 7}, Data: f32},
		{Name: "f64", DType: safetensors.F64, Shape: []int{3}, Data: f64},
		{Name: "i16 is not looked at", DType: safetensors.I16, Shape: []int{4}, Data: bytes.Repeat([]byte{0xff}, 8)},
		{Name: "empty", DType: safetensors.F32, Shape: []int{0, 3}},
		{Name: "more than a buffer", DType: safetensors.BF16, Shape: []int{1 << 20}, Data: large},
		{Name: "e4m3", DType: safetensors.F8_E4M3, Shape: []int{9}, Data: []byte{0x7e, 0xfe, 0, 0, 0, 0, 0, 0, 0xff}},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := makeDir(t, map[string]string{"config.json": "{}", "model.safetensors": b.String()})
	want := []string{
		`"bf16": 3 of 35 values are NaN or infinite, the first at [1 3]`,
		`"f16": 1 of 20 values are NaN or infinite, the first at [19]`,
		`"f32": 1 of 21 values are NaN or infinite, the first at [2 6]`,
		`"f64": 1 of 3 values are NaN or infinite, the first at [0]`,
		`"more than a buffer": 2 of 1048576 values are NaN or infinite, the first at [524291]`,
		`"e4m3": 1 of 9 values are NaN or infinite, the first at [8]`,
	}
	problems := checkpoint.Check(context.Background(), dir, true, nil)
	for i, p := range problems {
		if i >= len(want) || !strings.Contains(p.Error(), want[i]) {
			t.Errorf("problem %d: %v", i, p)
		}
	}
	if len(problems) != len(want) {
		t.Errorf("%d problems, want %d", len(problems), len(want))
	}
	if problems := checkpoint.Check(context.Background(), dir, false, nil); len(problems) > 0 {
		t.Errorf("shallow check: %v", problems)
	}
}

// Every bit pattern of the 16-bit types, against the arithmetic definition.
func TestDeepCheckCountsEveryPattern(t *testing.T) {
	all := make([]byte, 2<<16)
	for i, v := range rand.New(rand.NewPCG(1, 2)).Perm(1 << 16) {
		binary.LittleEndian.PutUint16(all[2*i:], uint16(v))
	}
	for dtype, want := range map[safetensors.DType]string{
		safetensors.BF16: "256 of 65536", // 2 signs x 2^7 mantissas
		safetensors.F16:  "2048 of 65536",
	} {
		var b bytes.Buffer
		if err := safetensors.Write(&b, nil, []safetensors.Entry{{Name: "w", DType: dtype, Shape: []int{1 << 16}, Data: all}}); err != nil {
			t.Fatal(err)
		}
		dir := makeDir(t, map[string]string{"config.json": "{}", "model.safetensors": b.String()})
		problems := checkpoint.Check(context.Background(), dir, true, nil)
		if len(problems) != 1 || !strings.Contains(problems[0].Message, want) {
			t.Errorf("%s: got %v, want %s", dtype, problems, want)
		}
	}
}

func TestDeepCheckCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if problems := checkpoint.Check(ctx, makeDir(t, layered(t, 2)), true, nil); len(problems) > 0 {
		t.Errorf("got %v", problems)
	}
}

func TestHash(t *testing.T) {
	files := layered(t, 2)
	dir := makeDir(t, files)
	hash := func(opts ...checkpoint.Option) string {
		t.Helper()
		sum, err := mustOpen(t, dir, opts...).Hash(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	plain := hash()
	cache := filepath.Join(t.TempDir(), "made", "on", "use")
	for range 2 {
		if got := hash(checkpoint.WithHashCache(cache)); got != plain {
			t.Errorf("with a cache: %s, without: %s", got, plain)
		}
	}
	entries, err := os.ReadDir(cache)
	if err != nil || len(entries) != 3 {
		t.Errorf("%d entries in the cache (%v)", len(entries), err)
	}
	for i, e := range entries {
		garbage := []string{"", "{", `{"sha256":"x"}`}[i]
		if err := os.WriteFile(filepath.Join(cache, e.Name()), []byte(garbage), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := hash(checkpoint.WithHashCache(cache)); got != plain {
		t.Errorf("with a broken cache: %s, want %s", got, plain)
	}
	// Files that are not the model do not count, its own do.
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte("[]"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := hash(checkpoint.WithHashCache(cache)); got != plain {
		t.Error("the tokenizer changed the hash")
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"num_hidden_layers":5}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := hash(checkpoint.WithHashCache(cache)); got == plain {
		t.Error("the config did not change the hash")
	}
}

// The cache is really used: what it says is believed while the file is unchanged.
func TestHashCacheIsRead(t *testing.T) {
	dir, cache := makeDir(t, layered(t, 1)), t.TempDir()
	c := mustOpen(t, dir, checkpoint.WithHashCache(cache))
	before, err := c.Hash(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range readDir(t, cache) {
		_, sum, _ := strings.Cut(raw, `"sha256":"`)
		changed := strings.Replace(raw, sum[:64], strings.Repeat("0", 64), 1)
		if err := os.WriteFile(filepath.Join(cache, name), []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	after, err := c.Hash(context.Background())
	if err != nil || after == before {
		t.Errorf("the cache was not read (%v)", err)
	}
}

func TestHashCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := mustOpen(t, makeDir(t, layered(t, 1))).Hash(ctx); err == nil {
		t.Error("hashed")
	}
}
