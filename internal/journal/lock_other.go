//go:build !linux && !darwin && !freebsd

package journal

import "os"

// lock lets everybody in: locks of these systems keep readers out too.
func lock(*os.File) error { return nil }
