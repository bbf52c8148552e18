//go:build goexperiment.simd && amd64 && !tiles_emulated

package cpu

import (
	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
)

// tilesAllowed asks the kernel to let the process use tiles (arch_prctl,
// ARCH_REQ_XCOMP_PERM of XFEATURE_XTILEDATA).
func tilesAllowed() bool {
	const request, tileData = 0x1023, 18
	if !cpu.X86.HasAMXTile || !cpu.X86.HasAMXBF16 {
		return false
	}
	_, _, errno := unix.RawSyscall(unix.SYS_ARCH_PRCTL, request, tileData, 0)
	return errno == 0
}
