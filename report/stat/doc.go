// Package stat is what results say once chance is reckoned with: paired differences of
// two files of results, metric by metric, with intervals that draw documents again
// within their tasks; Holm's correction; values that are at chance; and how much of
// what a cut took healing brings back.
//
// Numbers by document come from report.EvalFile, formulas from package eval/compare.
// How any of it is shown does not belong here.
package stat
