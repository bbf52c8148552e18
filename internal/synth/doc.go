// Package synth makes models out of seeded random numbers: Llama checkpoints of
// any size in the layout of Hugging Face, with a byte-level tokenizer.
//
// It serves tests and benchmarks. Weights are scaled so that logits
// spread and layers differ in importance, and that is all they are good for:
// nothing here is trained. It knows the file format only (package safetensors),
// so that tests of every other package may use it; tolerances and golden files
// belong in package testkit.
package synth
