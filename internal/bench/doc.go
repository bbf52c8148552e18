// Package bench measures how fast the engine is, beside the limit of the same
// machine in the same minutes: the time that the matrix products alone take.
//
// Here belong shapes, synthetic weights that never touch the disk, and the
// interleaving of what is compared. How the limit's products are multiplied is
// the engine's part (Limiter), printing is the command line's.
package bench
