//go:build !linux && !darwin && !windows

package doctor

import "io/fs"

func machineMemory(fs.FS) Memory { return Memory{} }

func cpuModel(fs.FS) string { return "" }

func diskSpace(string) (free, total int64) { return 0, 0 }
