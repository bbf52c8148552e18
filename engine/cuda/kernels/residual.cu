#include "norm.cu"

// add_residual: rows[i] of out = the same row of in + scale * norm(x[i] + bias), x
// [W, D]; without a weight there is no norm. show, if there is one, gets what is
// added. out may be in. A warp a row. The reference is engine/cpu's addTo.
KERNEL(add_residual, float *out, const float *in, float *x, const int *rows, int count, int width,
	const float *bias, const float *weight, float eps, float scale, float *show) {
	int i = warp_of_grid();
	if (i >= count) return;
	x += (size_t)i * width;
	size_t at = (size_t)rows[i] * width;
	if (bias)
		for (int j = lane_of(); j < width; j += 32) x[j] += bias[j];
	normal n = {0.0f, 1.0f};
	if (weight) n = normal_of(x, width, 0, eps);
	for (int j = lane_of(); j < width; j += 32) {
		float v = weight ? normalised(x, j, n, weight, 0) : x[j];
		v *= scale;
		if (show) show[at + j] = v;
		out[at + j] = in[at + j] + v;
	}
}
