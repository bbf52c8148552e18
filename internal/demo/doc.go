// Package demo provides what `coppice demo` shows the commands on: a model
// small enough to ship as a seed, and a text of its own.
//
// The model is untrained, so its numbers show the mechanics, not quality; every
// surface that prints them says so. The walk through the commands is the command
// line's (internal/cli), how a model is made up is package synth's.
package demo
