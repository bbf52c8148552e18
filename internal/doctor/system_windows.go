package doctor

import (
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// memoryStatus is MEMORYSTATUSEX.
type memoryStatus struct {
	length    uint32
	load      uint32
	total     uint64
	available uint64
	_         [5]uint64 // page file, virtual
}

func machineMemory(fs.FS) Memory {
	s := memoryStatus{}
	s.length = uint32(unsafe.Sizeof(s))
	proc := windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")
	if ok, _, _ := proc.Call(uintptr(unsafe.Pointer(&s))); ok == 0 {
		return Memory{}
	}
	return Memory{Total: int64(s.total), Free: int64(s.available)}
}

func cpuModel(fs.FS) string { return os.Getenv("PROCESSOR_IDENTIFIER") }

func diskSpace(path string) (free, total int64) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, 0
	}
	var available, size uint64
	if windows.GetDiskFreeSpaceEx(name, &available, &size, nil) != nil {
		return 0, 0
	}
	return int64(available), int64(size)
}
