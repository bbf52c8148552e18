// Package stage is what can be asked of a model, as values that need no command
// line: Score, Prune, Eval, Curve, PPL, LogProbs, Variants, Generate and what they
// share. A stage is a struct of what is wanted, with the keys it has in a file; its
// Run does the work in an Env and returns what package report prints.
//
// Here belong defaults, checks of what is asked, the finding and opening of models
// and data, what work costs, and whether to go on. How a number is computed belongs
// in the packages below; flags, exit codes, tables and pictures in internal/cli. An
// error that something asked for is to blame for is a Problem that names the field.
package stage
