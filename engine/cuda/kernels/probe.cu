#include "device.h"

// Kernels for probing how products are added up, and how fast memory is.

// make_up fills x with numbers between -1 and 1 that depend on their place.
KERNEL(make_up, input *x, size_t count, int seed) {
	size_t step = (size_t)gridDim.x * blockDim.x;
	for (size_t i = thread_of_grid(); i < count; i += step) {
		u32 h = (u32)i * 2654435761u + (u32)seed * 40503u;
		h = (h ^ h >> 15) * 2246822519u;
		h = (h ^ h >> 13) * 3266489917u;
		x[i] = to_input((float)(int)(h ^ h >> 16) * 4.656612873077393e-10f);
	}
}

// compare_bits sets *differs where a and b have other bits.
KERNEL(compare_bits, int *differs, const float *a, const float *b, size_t count) {
	size_t step = (size_t)gridDim.x * blockDim.x;
	for (size_t i = thread_of_grid(); i < count; i += step)
		if (bits_of(a[i]) != bits_of(b[i])) *differs = 1;
}

// read_all reads x [count], and writes something only where what it reads is odd.
KERNEL(read_all, u32 *odd, const sixteen *x, size_t count) {
	size_t step = (size_t)gridDim.x * blockDim.x;
	u32 all = 0;
	for (size_t i = thread_of_grid(); i < count; i += step) {
		sixteen v = load_as<sixteen>(&x[i]);
		all |= v.words[0] | v.words[1] | v.words[2] | v.words[3];
	}
	if (all & 1) *odd = 1;
}
