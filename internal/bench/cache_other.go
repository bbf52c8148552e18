//go:build !linux

package bench

// dropCache can do nothing: files may come from the system's cache.
func dropCache(string, int64) {}
