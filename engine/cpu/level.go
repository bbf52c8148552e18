package cpu

import "strings"

// The levels of instruction sets, as results and `coppice doctor` name them. A
// processor has all that stand before its own.
const (
	levelAVX2   = "AVX2"
	levelAVX512 = "AVX-512"
	levelBF16   = "AVX512-BF16"
	levelAMX    = "AMX"
)

// levelIn finds the level that a provider's name ends with, "" of none.
func levelIn(name string) string {
	for _, level := range []string{levelAVX2, levelAVX512, levelBF16, levelAMX} {
		if strings.HasSuffix(name, " ("+level+")") {
			return level
		}
	}
	return ""
}

// levelOf names the level of what oneDNN calls an instruction set, such as
// cpu_isa_avx512_core_bf16 or cpu_isa_avx10_1_512_amx; "" of "".
func levelOf(isa string) string {
	isa = strings.ToLower(strings.TrimPrefix(isa, "cpu_isa_"))
	for _, l := range []struct{ has, level string }{
		{"amx", levelAMX},
		{"avx10", levelBF16}, {"fp16", levelBF16}, {"bf16", levelBF16},
		{"avx512", levelAVX512}, {"avx2", levelAVX2}, {"avx", "AVX"}, {"sse41", "SSE4.1"},
	} {
		if strings.Contains(isa, l.has) {
			return l.level
		}
	}
	return isa
}
