#include "device.h"

// embed: y [N, D] = scale * table[ids[i] + offset], or that added to y where the
// table holds learned positions. A warp a row. The reference is engine/cpu's
// embedding.
KERNEL(embed, float *y, const void *table, int dtype, const int *ids, int count, int width,
	int offset, float scale, int adds) {
	int i = warp_of_grid();
	if (i >= count) return;
	size_t from = (size_t)(ids[i] + offset) * width;
	y += (size_t)i * width;
	for (int j = lane_of(); j < width; j += 32) {
		float v = stored(table, dtype, from + j) * scale;
		y[j] = adds ? y[j] + v : v;
	}
}
