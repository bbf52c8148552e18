// Package coppice is the root of the module and holds no code: only the tests
// of rules that every package obeys, which import whom and what may be at
// package level.
//
// The program is cmd/coppice; what can be used from other programs are the
// packages beside this file. ARCHITECTURE.md says what belongs in which.
package coppice
