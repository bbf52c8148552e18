//go:build !linux

package mmap

func populate(pages []byte) { willNeed(pages) }
