//go:build !(mips || mips64 || ppc64 || s390x)

package cpu

// littleEndian says that numbers in memory have the byte order of safetensors.
const littleEndian = true
