// Package digest is what runs came to, as values: of each trial what was cut, what was
// measured dense, cut and healed, and what is missing and why, read from the files of
// run directories.
//
// Reading and arithmetic that every form of a report shares belong here. How a report
// looks is package page's; formulas of statistics are package stat's.
package digest
