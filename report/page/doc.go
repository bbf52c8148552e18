// Package page writes reports of runs: a page of HTML that is all in one file, the same
// as Markdown and as LaTeX, and every number as CSV.
//
// How results look belongs here, and what was published beside them. What they are, is
// package digest's, pictures are internal/plot's. All that comes from a run is text:
// each form escapes what means something to it.
package page
