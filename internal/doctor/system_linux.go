package doctor

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

func machineMemory(root fs.FS) Memory { return procMemory(root) }

func cpuModel(root fs.FS) string { return procModel(root) }

func diskSpace(path string) (free, total int64) {
	var s unix.Statfs_t
	if unix.Statfs(path, &s) != nil {
		return 0, 0
	}
	return int64(s.Bavail) * s.Bsize, int64(s.Blocks) * s.Bsize
}
