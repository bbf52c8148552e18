// Package demo provides what `coppice demo` shows the commands on: a trained model
// small enough to ship, and a text of its own.
//
// The model knows little beside that text; every surface that prints its numbers
// says so. The walk through the commands is the command line's (internal/cli).
package demo
