// Package doctor looks at the machine: processor, cores, memory, disks, matrix
// kernels, and the environment variables that change what Coppice does.
//
// Here belongs what `coppice doctor` reports and the one number derived from it,
// the default of --memory. It measures nothing that takes time (package bench
// does) and prints nothing. A fact that the platform does not tell is left
// empty, never guessed.
package doctor
