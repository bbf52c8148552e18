// Package testkit holds what tests of several packages share: pico checkpoints,
// golden files made by a reference implementation, and measures of distance.
//
// Only tests import it. Nothing that runs a model belongs here: it depends on
// the file format alone, so that the tests
// of any package may use it without a cycle; models themselves are made by
// package synth.
package testkit
