//go:build !linux && !darwin && !freebsd && !windows

package filelock

import "os"

// try: nobody has tried what locks do here.
func try(*os.File) (bool, error) { return false, ErrUnsupported }
