#include "device.h"

// What is wanted of logits, a block of the vocabulary at a time: products [count,
// width] of columns from column on. A warp a row. The references are engine/cpu's
// finish, reduce and diverge.

// finish makes a product a logit: divided by the norm of the head's row where the
// family does so (factors [V]), scaled, capped.
DEVICE float finish(float x, const float *factors, int token, float scale, float cap) {
	if (factors) x *= factors[token];
	return soft_cap(x * scale, cap);
}

// finish_logits does so where the products lie.
KERNEL(finish_logits, float *x, int count, int width, int column, const float *factors, float scale, float cap) {
	size_t i = thread_of_grid();
	if (i >= (size_t)count * width) return;
	x[i] = finish(x[i], factors, column + (int)(i % width), scale, cap);
}

// place_block copies a block of finished logits to its columns of all [count, V].
KERNEL(place_block, float *all, const float *x, int count, int width, int column, int vocab) {
	size_t i = thread_of_grid();
	if (i >= (size_t)count * width) return;
	all[i / width * vocab + column + i % width] = x[i];
}

// softmax is what a row's softmax comes to so far: the largest logit, its token
// (the lowest of equals), the sum of exp(logit - top).
struct softmax {
	double sum;
	float top;
	int token;
};

DEVICE float largest(const float *x, int width) {
	float top = float_of(0xff800000);
	for (int j = lane_of(); j < width; j += 32) top = fmaxf(top, x[j]);
	return warp_max(top);
}

DEVICE double sum_exp(const float *x, int width, float top) {
	double sum = 0.0;
	for (int j = lane_of(); j < width; j += 32) sum += (double)exp32(x[j] - top);
	return warp_sum_double(sum);
}

// grown is how much a sum relative to top grows relative to another top.
DEVICE double grown(float top, float other) { return top == other ? 1.0 : exp((double)top - (double)other); }

// softmax_block merges a block of finished logits into states [count].
KERNEL(softmax_block, softmax *states, const float *x, int count, int width, int column) {
	int i = warp_of_grid();
	if (i >= count) return;
	x += (size_t)i * width;
	float top = largest(x, width);
	double sum = sum_exp(x, width, top);
	int at = width;
	for (int j = lane_of(); j < width && at == width; j += 32)
		if (x[j] == top) at = j;
	at = warp_min(at);
	if (lane_of() != 0) return;
	softmax s = {sum, top, column + at};
	if (column > 0) {
		softmax old = states[i];
		float most = fmaxf(old.top, top);
		s.sum = old.sum * grown(old.top, most) + sum * grown(top, most);
		s.top = most;
		if (!(top > old.top)) s.token = old.token;
	}
	states[i] = s;
}

// pick: out[targets[i]] = the finished logit of tokens[i], one of the block, in row
// rows[i].
KERNEL(pick, float *out, const float *x, int count, int width, int column, const int *rows, const int *tokens, const int *targets) {
	size_t i = thread_of_grid();
	if (i >= (size_t)count) return;
	out[targets[i]] = x[(size_t)rows[i] * width + tokens[i] - column];
}

// divergence is what KL(softmax(a) || softmax(b)) of a row comes to so far, sums
// relative to the largest logits: cross is of exp(a - top_a) (a - b).
struct divergence {
	double sum_a, sum_b, cross;
	float top_a, top_b;
};

// diverge_block merges a block of two rows' finished logits into states [count].
KERNEL(diverge_block, divergence *states, const float *a, const float *b, int count, int width, int column) {
	int i = warp_of_grid();
	if (i >= count) return;
	a += (size_t)i * width;
	b += (size_t)i * width;
	divergence s;
	s.top_a = largest(a, width);
	s.top_b = largest(b, width);
	s.sum_a = sum_exp(a, width, s.top_a);
	s.sum_b = sum_exp(b, width, s.top_b);
	double cross = 0.0;
	for (int j = lane_of(); j < width; j += 32)
		cross += (double)exp32(a[j] - s.top_a) * ((double)a[j] - (double)b[j]);
	s.cross = warp_sum_double(cross);
	if (lane_of() != 0) return;
	if (column > 0) {
		divergence old = states[i];
		float top_a = fmaxf(old.top_a, s.top_a), top_b = fmaxf(old.top_b, s.top_b);
		double mine = grown(s.top_a, top_a), others = grown(old.top_a, top_a);
		s.sum_a = old.sum_a * others + s.sum_a * mine;
		s.cross = old.cross * others + s.cross * mine;
		s.sum_b = old.sum_b * grown(old.top_b, top_b) + s.sum_b * grown(s.top_b, top_b);
		s.top_a = top_a;
		s.top_b = top_b;
	}
	states[i] = s;
}
