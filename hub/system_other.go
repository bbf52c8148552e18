//go:build !linux && !darwin && !freebsd && !windows

package hub

import "os"

// tryLock: nobody has tried what locks do here.
func tryLock(*os.File) (bool, error) { return false, errNoLocks }

// freeSpace cannot be found out.
func freeSpace(string) (free int64, ok bool) { return 0, false }

func diskFull(error) bool { return false }
