// Package sapling holds Sapling, a small Llama that this project trained on a
// world of its own making, with the tasks, instructions and texts that belong to
// it: what shows, offline and in minutes, that pruning hurts and healing helps.
//
// Package world makes up what it knows, bpe its tokenizer, training has the stages;
// "make sapling" grows it, docs/sapling.md has the settings and the figures.
// Nothing here runs a model.
package sapling
