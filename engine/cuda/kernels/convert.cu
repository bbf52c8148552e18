#include "device.h"

// convert: y [count] = stored values as products take them.
KERNEL(convert, input *y, const void *values, int dtype, size_t count) {
	size_t step = (size_t)gridDim.x * blockDim.x;
	for (size_t i = thread_of_grid(); i < count; i += step) y[i] = to_input(stored(values, dtype, i));
}
