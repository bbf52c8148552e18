// Package score ranks the layers of a model by how little is lost without
// them: one file a metric, or a pass that several metrics share.
//
// What belongs here turns weights or hidden states into a score a layer and an
// order to drop them in. How many layers then go is package prune's business;
// running the model is package forest's.
//
// Shape legend: N tokens, D hidden size, L layers. X_i [N, D] is the hidden
// state entering layer i, X_i+1 what leaves it, before the final norm. Formulas
// and their sources are in docs/metrics.md and in each [Metric]'s Summary.
package score
