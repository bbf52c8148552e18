//go:build mips || mips64 || ppc64 || s390x

package cpu

const littleEndian = false
