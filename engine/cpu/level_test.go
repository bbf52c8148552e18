package cpu

import (
	"runtime"
	"strings"
	"testing"
)

func TestLevels(t *testing.T) {
	for isa, want := range map[string]string{
		"": "", "cpu_isa_sse41": "SSE4.1", "cpu_isa_avx": "AVX", "cpu_isa_avx2": "AVX2", "cpu_isa_avx2_vnni": "AVX2", "cpu_isa_avx2_vnni_2": "AVX2",
		"cpu_isa_avx512_core": "AVX-512", "cpu_isa_avx512_core_vnni": "AVX-512", "cpu_isa_avx512_core_bf16": "AVX512-BF16",
		"cpu_isa_avx512_core_fp16": "AVX512-BF16", "cpu_isa_avx10_1_512": "AVX512-BF16", "cpu_isa_avx512_core_amx": "AMX",
		"cpu_isa_avx10_1_512_amx": "AMX", "cpu_isa_avx10_1_512_amx_fp16": "AMX",
	} {
		if got := levelOf(isa); got != want {
			t.Errorf("%s is of level %q, want %q", isa, got, want)
		}
	}
	for _, c := range []struct{ name, kernels, want string }{
		{"oneDNN 2.6.3 (AVX2)", "AVX2", "oneDNN 2.6.3 (AVX2)"},
		{"oneDNN 2.6.3 (AVX2)", "AVX-512", "oneDNN 2.6.3 (AVX2) with AVX-512 kernels"},
		{"oneDNN 2.6.3 (AMX)", "AMX", "oneDNN 2.6.3 (AMX)"},
		{"oneDNN 2.6.3 (AMX)", "AVX-512", "oneDNN 2.6.3 (AMX) with AVX-512 kernels"},
		{"oneDNN 2.6.3 (AVX512-BF16)", "AMX", "oneDNN 2.6.3 (AVX512-BF16) with AMX kernels"},
		{"oneDNN 2.6.3 (AVX512-BF16)", "scalar", "oneDNN 2.6.3 (AVX512-BF16) with scalar kernels"},
		{"oneDNN 2.6.3", "scalar", "oneDNN 2.6.3"},
	} {
		if got := providerName(named{is: c.name}, &kernels{name: c.kernels}); got != c.want {
			t.Errorf("%s with %s kernels is %q, want %q", c.name, c.kernels, got, c.want)
		}
	}
}

type named struct {
	goMultiplier
	is string
}

func (n named) name() string { return n.is }

// TestLevelNotes: what oneDNN would pass over in silence is said.
func TestLevelNotes(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the variable is of amd64")
	}
	for value, want := range map[string]bool{"": false, "AVX2": false, "avx512_core": false, "default": false, "AVX-512": true, "AMX": true, "AVX3": true} {
		if got := levelNotes(value); (len(got) == 1 && strings.Contains(got[0], "ONEDNN_MAX_CPU_ISA="+value+" has no effect")) != want {
			t.Errorf("%q: %q", value, got)
		}
	}
}
