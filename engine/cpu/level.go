package cpu

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

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

// levelNotes says of a value of ONEDNN_MAX_CPU_ISA that no oneDNN knows that the
// library passes over it; nothing of any other. The words are those of oneDNN 2.0 to
// 3.9 (its page "CPU Dispatcher Control"), which 2.6 reads in either case.
func levelNotes(value string) []string {
	words := strings.Fields("DEFAULT ALL SSE41 AVX AVX2 AVX2_VNNI AVX2_VNNI_2 AVX512_MIC AVX512_MIC_4OPS " +
		"AVX512_CORE AVX512_CORE_VNNI AVX512_CORE_BF16 AVX512_CORE_FP16 AVX512_CORE_AMX AVX512_CORE_AMX_FP16 " +
		"AVX10_1_512 AVX10_1_512_AMX AVX10_1_512_AMX_FP16 AVX10_2_512 AVX10_2_512_AMX_2")
	known := slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, value) })
	if value == "" || known || runtime.GOARCH != "amd64" {
		return nil
	}
	return []string{fmt.Sprintf("ONEDNN_MAX_CPU_ISA=%s has no effect: oneDNN passes over words that it does not know; it knows %s", value, strings.Join(words, ", "))}
}
