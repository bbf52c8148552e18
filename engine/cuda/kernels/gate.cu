#include "device.h"

// Activations, as the host numbers them.
#define SILU 0
#define GELU 1
#define GELU_TANH 2
#define RELU 3
#define RELU_SQUARED 4

// swish is x sigmoid(x (linear + cubic x²)): SiLU for (1, 0), and for the constants
// below the tanh approximation of GELU (Hendrycks and Gimpel 2016).
DEVICE float swish(float x, float linear, float cubic) {
	float z = x * (linear + cubic * x * x);
	return x / (1.0f + exp32(-z));
}

DEVICE float activated(float x, int kind) {
	switch (kind) {
	case GELU:
		return 0.5f * x * erfcf(-x * 0.70710678118654752f);
	case GELU_TANH:
		return swish(x, 1.59576912160573071f, 0.0713548162726008f);
	case RELU:
		return x > 0.0f || x != x ? x : 0.0f;
	case RELU_SQUARED:
		return x > 0.0f || x != x ? x * x : 0.0f;
	default:
		return swish(x, 1.0f, 0.0f);
	}
}

// gate: y [W, F] = activation(g + bias) * (u + bias), g and u side by side in x
// [W, 2F], biases in bias [2F]; without a gate, activation(x + bias) of x [W, F].
// The reference is engine/cpu's activate.
KERNEL(gate, input *y, const float *x, int count, int width, int gated, int kind, const float *bias) {
	size_t i = thread_of_grid();
	if (i >= (size_t)count * width) return;
	int j = (int)(i % width);
	x += i / width * (gated ? 2 * width : width);
	float g = bias ? x[j] + bias[j] : x[j];
	float v = activated(g, kind);
	if (gated) v *= bias ? x[width + j] + bias[width + j] : x[width + j];
	y[i] = to_input(v);
}
