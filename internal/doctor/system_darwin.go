package doctor

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// machineMemory takes half of the machine's memory as free: macOS tells the
// rest only through Mach calls.
func machineMemory(fs.FS) Memory {
	total, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return Memory{}
	}
	return Memory{Total: int64(total), Free: int64(total / 2)}
}

func cpuModel(fs.FS) string {
	name, err := unix.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		return ""
	}
	return name
}

func diskSpace(path string) (free, total int64) {
	var s unix.Statfs_t
	if unix.Statfs(path, &s) != nil {
		return 0, 0
	}
	return int64(s.Bavail) * int64(s.Bsize), int64(s.Blocks) * int64(s.Bsize)
}
