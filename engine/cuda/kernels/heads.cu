#include "device.h"

// What happens to queries, keys and values between their product and attention.
// The reference is engine/cpu's rotateHeads.

// add_bias: rows of x, stride apart, get a bias [width] added.
KERNEL(add_bias, float *x, int count, int stride, int width, const float *bias) {
	size_t i = thread_of_grid();
	if (i >= (size_t)count * width) return;
	int j = (int)(i % width);
	float *at = x + i / width * stride + j;
	*at += bias[j];
}

// rotate turns pairs of the first dim columns of every head (Su et al. 2021, eq.
// 34) of the rows that have this table: cos and sin [positions, angles] of each
// pair once or, interleaved, of both columns, the sine negative for the first.
KERNEL(rotate, float *x, int count, int stride, int heads, int width, int dim, int interleaved,
	const int *positions, const int *tables, int table, const float *cosines, const float *sines, int angles) {
	int pairs = dim / 2;
	size_t i = thread_of_grid();
	if (i >= (size_t)count * heads * pairs) return;
	int j = (int)(i % pairs), head = (int)(i / pairs % heads), row = (int)(i / pairs / heads);
	if (tables[row] != table) return;
	x += (size_t)row * stride + (size_t)head * width;
	size_t angle = (size_t)positions[row] * angles;
	if (interleaved) {
		float a = x[2 * j], b = x[2 * j + 1];
		x[2 * j] = a * cosines[angle + 2 * j] + b * sines[angle + 2 * j];
		x[2 * j + 1] = b * cosines[angle + 2 * j + 1] + a * sines[angle + 2 * j + 1];
		return;
	}
	float a = x[j], b = x[j + pairs], c = cosines[angle + j], s = sines[angle + j];
	x[j] = a * c - b * s;
	x[j + pairs] = b * c + a * s;
}

// append copies a part [N, width] of rows of x, stride apart, to rows places[i] of
// a cache [slots * capacity, width].
KERNEL(append, input *cache, const input *x, int count, int stride, int width, const int *places) {
	size_t i = thread_of_grid();
	if (i >= (size_t)count * width) return;
	int j = (int)(i % width), row = (int)(i / width);
	cache[(size_t)places[row] * width + j] = x[(size_t)row * stride + j];
}
