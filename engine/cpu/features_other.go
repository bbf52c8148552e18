//go:build !amd64

package cpu

// hasBF16 reports whether the processor multiplies bfloat16 in hardware; where
// it cannot be asked, float32 is used.
func hasBF16() bool { return false }
