package cpu

import "golang.org/x/sys/cpu"

// hasBF16 reports whether the processor multiplies bfloat16 in hardware.
func hasBF16() bool { return cpu.X86.HasAVX512BF16 || cpu.X86.HasAMXBF16 }
