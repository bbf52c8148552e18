#include "device.h"

// Norms of rows: by the root mean square (Zhang and Sennrich 2019, eq. 4) or,
// centred, LayerNorm (Ba et al. 2016). A warp a row. The reference is
// engine/cpu's normalise.

// normal is what a row is normalised by: (x - mean) * scale.
struct normal {
	float mean, scale;
};

DEVICE normal normal_of(const float *x, int width, int centred, float eps) {
	normal n = {0.0f, 1.0f};
	if (centred) {
		float sum = 0.0f;
		for (int i = lane_of(); i < width; i += 32) sum += x[i];
		n.mean = warp_sum(sum) / (float)width;
	}
	float squares = 0.0f;
	for (int i = lane_of(); i < width; i += 32) {
		float v = x[i] - n.mean;
		squares = fmaf(v, v, squares);
	}
	n.scale = 1.0f / sqrtf(warp_sum(squares) / (float)width + eps);
	return n;
}

DEVICE float normalised(const float *x, int i, normal n, const float *weight, const float *bias) {
	float y = weight[i] * ((x[i] - n.mean) * n.scale);
	return bias ? y + bias[i] : y;
}

// norm_input: y [W, D] = norm of rows[i] of x [N, D], as products take them.
// Without a weight it only rounds.
KERNEL(norm_input, input *y, const float *x, const int *rows, int count, int width,
	const float *weight, const float *bias, int centred, float eps) {
	int i = warp_of_grid();
	if (i >= count) return;
	x += (size_t)rows[i] * width;
	y += (size_t)i * width;
	if (!weight) {
		for (int j = lane_of(); j < width; j += 32) y[j] = to_input(x[j]);
		return;
	}
	normal n = normal_of(x, width, centred, eps);
	for (int j = lane_of(); j < width; j += 32) y[j] = to_input(normalised(x, j, n, weight, bias));
}

// norm_parts: groups of width values of each of count rows of x, stride apart,
// become their norms, where they lie or in y.
KERNEL(norm_parts, float *y, const float *x, int count, int stride, int groups, int width,
	const float *weight, const float *bias, int centred, float eps) {
	int i = warp_of_grid();
	if (i >= count * groups) return;
	size_t at = (size_t)(i / groups) * stride + (size_t)(i % groups) * width;
	x += at;
	y += at;
	normal n = normal_of(x, width, centred, eps);
	for (int j = lane_of(); j < width; j += 32) y[j] = normalised(x, j, n, weight, bias);
}

// inverse_norms: y [V] = 1 / max(|row|, 1e-12) of every row of a stored matrix
// [V, D], as torch's normalize divides.
KERNEL(inverse_norms, float *y, const void *matrix, int dtype, int count, int width) {
	int i = warp_of_grid();
	if (i >= count) return;
	float squares = 0.0f;
	for (int j = lane_of(); j < width; j += 32) {
		float v = stored(matrix, dtype, (size_t)i * width + j);
		squares = fmaf(v, v, squares);
	}
	float norm = sqrtf(warp_sum(squares));
	if (lane_of() == 0) y[i] = 1.0f / fmaxf(norm, 1e-12f);
}
