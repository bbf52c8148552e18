// Package generate continues token sequences with a model or a pruning of it:
// the decoding loop, its key/value caches and sampling.
//
// Text belongs to package tokenizer, what runs a layer to package engine. Shape
// legend: N tokens of a batch, T length of one sequence, D hidden size,
// V vocabulary, L layers.
package generate
