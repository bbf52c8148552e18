// Package coppice is the root of the module. It holds no code: its tests keep
// the rules of the house, which imports may go where (imports_test.go) and that
// every package says what it is for (packages_test.go).
//
// The command is in cmd/coppice; ARCHITECTURE.md shows the packages.
package coppice
