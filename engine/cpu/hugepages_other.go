//go:build unix && !linux

package cpu

// hugePages is Linux's.
func hugePages([]byte) {}
