// Package safetensors reads and writes the safetensors file format: eight bytes
// of header length, a JSON header naming every tensor, then the tensors' bytes
// without gaps.
//
// Here belong the format's own rules: parsing, validating, mapping, writing.
// What a tensor means, how files make up a checkpoint, and any arithmetic on
// the values do not. A file is not trusted: everything its header claims is
// checked against the file before a byte of data is handed out.
package safetensors
