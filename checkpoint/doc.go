// Package checkpoint reads a Hugging Face checkpoint directory and writes a
// changed copy of it: config.json, the shards and their index, and the small files
// beside them. Weights are read as safetensors or as PyTorch's own files; a copy is
// always safetensors.
//
// Here belong the directory's own rules: which files make up a checkpoint, what
// may be wrong with them, how tensors are renamed or left out byte for byte, and
// how the result appears at once or not at all. What a tensor is for and what a
// key of config.json means depend on the model family and do not belong here.
package checkpoint
