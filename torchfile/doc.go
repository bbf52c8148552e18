// Package torchfile reads tensors from the files that torch.save writes: a zip
// archive of a pickle and the storages' bytes or, from before PyTorch 1.6, a
// stream of pickles with the bytes behind them.
//
// A pickle is a program. The one here is read by a machine that knows how to
// describe tensors and nothing else: it calls no function, makes no object of a
// named class, and refuses a pickle that asks for one by naming the opcode and
// its offset. Memory and work are bounded by the pickle's size and by fixed
// limits. Tensors are described first and used where they lie in the mapped file;
// only those that do not lie there row by row are put in order when asked for.
//
// How files make up a checkpoint does not belong here, nor does writing: what
// Coppice writes is safetensors.
package torchfile
