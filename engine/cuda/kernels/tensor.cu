#include "attend.cu"
#include "tensor.h"

// Attention on tensor cores: what attend computes, of bfloat16 with float32 sums, for
// heads of some widths (Dao 2023, FlashAttention-2, algorithm 1). Each of a block's
// four warps has 16 queries of a head; together they take 64 keys at a time, at
// absolute positions of the sequence: keys of the next step come while the warps add
// up values, and values while they weigh keys. Keys that a query does not see have weight 0
// exactly, so a query's bits depend on its place in its own sequence alone. (Values
// that are infinite or no numbers also spoil queries up to 63 places before them.)
// attended in attend_test.go says plainly what it computes.

#define STEP 64 // keys at a time

// place_of is where part (16 bytes) of a row of keys or values lies in shared
// memory: parts change places from row to row, so that one part of eight rows is
// read without conflicts.
template <int WIDTH> DEVICE int place_of(int row, int part) {
	const int parts = (WIDTH + 63) / 64 * 8; // of a row's memory
	return (row * parts + (part ^ row % 8)) * 8;
}

// bring begins to copy rows of keys or values from position low on; zeros behind
// the last.
template <int WIDTH, class Tile> DEVICE void bring(Tile &to, const u16 *from, int stride, const run *runs, int count, int low, int end) {
	const int parts = WIDTH / 8;
	UNROLL
	for (int j = 0; j < STEP * parts / 128; j++) {
		int i = j * 128 + threadIdx.x, row = i / parts, part = i % parts, there = low + row < end;
		const u16 *at = there ? from + (size_t)row_of(runs, count, low + row) * stride + part * 8 : from;
		copy_async(to, place_of<WIDTH>(row, part), at, there);
	}
}

// side is one of a lane's two rows of its warp's 16: row lane / 4, or 8 more.
struct side {
	int row;          // of the tile
	int from, to;     // keys it sees, none where the tile has no such row
	float top, total; // of scores; of weights relative to that, the lane's part
};

// side_of finds a row and loads the lane's part of its query.
template <int WIDTH> DEVICE side side_of(int i, u32 (*query)[4], const u16 *q, int q_stride, const int *rows, tile t, int window) {
	side s = {warp_of() * 16 + lane_of() / 4 + 8 * i, 0, 0, float_of(0xff800000), 0.0f};
	int there = s.row < t.count, at = there ? rows[t.first + s.row] : 0;
	if (there) s.to = at + t.shift + 1;
	if (window > 0) s.from = max(0, s.to - window);
	const u16 *x = q + (size_t)at * q_stride + blockIdx.y * WIDTH + lane_of() % 4 * 2;
	UNROLL
	for (int k = 0; k < WIDTH / 16; k++) {
		query[k][i] = there ? load_as<u32>(x + 16 * k) : 0;
		query[k][i + 2] = there ? load_as<u32>(x + 16 * k + 8) : 0;
	}
	return s;
}

// score multiplies the warp's queries by a tile of keys.
template <int WIDTH, class Tile> DEVICE void score(float (*scores)[4], u32 (*query)[4], Tile &keys) {
	int lane = lane_of();
	UNROLL
	for (int n = 0; n < STEP / 8; n++)
		for (int c = 0; c < 4; c++) scores[n][c] = 0.0f;
	UNROLL
	for (int k = 0; k < WIDTH / 16; k++)
		UNROLL
		for (int n = 0; n < STEP / 16; n++) {
			u32 b[4];
			load_matrices(b, keys, place_of<WIDTH>(16 * n + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
			mma16816(scores[2 * n], query[k], b[0], b[1]);
			mma16816(scores[2 * n + 1], query[k], b[2], b[3]);
		}
}

// weigh turns scores of keys from position low on into weights, and returns by how
// much sums so far shrink. whole says that the query sees all of the keys.
DEVICE float weigh(float (*scores)[4], int i, side *s, int low, int whole, float scale, float cap) {
	const float log2e = 1.44269504088896341f;
	float top = s->top, total = 0.0f;
	UNROLL
	for (int j = 0; j < STEP / 4; j++) {
		float *x = &scores[j / 2][2 * i + j % 2];
		int key = low + j / 2 * 8 + lane_of() % 4 * 2 + j % 2;
		*x = cap == 0.0f ? *x * (scale * log2e) : soft_cap(*x * scale, cap) * log2e;
		if (!whole && (key < s->from || key >= s->to)) *x = float_of(0xff800000);
		top = fmaxf(top, *x);
	}
	top = quad_max(top);
	float base = top == float_of(0xff800000) ? 0.0f : top, shrink = exp2_fast(s->top - base);
	UNROLL
	for (int j = 0; j < STEP / 4; j++) {
		float *x = &scores[j / 2][2 * i + j % 2];
		*x = exp2_fast(*x - base);
		total += *x;
	}
	s->total = s->total * shrink + total;
	s->top = top;
	return shrink;
}

// gather adds a tile of values by their weights.
template <int WIDTH, class Tile> DEVICE void gather(float (*sums)[4], float (*weights)[4], Tile &values) {
	int lane = lane_of();
	UNROLL
	for (int k = 0; k < STEP / 16; k++) {
		float *x = weights[2 * k], *y = weights[2 * k + 1];
		u32 a[4] = {pair_of(x[0], x[1]), pair_of(x[2], x[3]), pair_of(y[0], y[1]), pair_of(y[2], y[3])};
		UNROLL
		for (int n = 0; n < WIDTH / 16; n++) {
			u32 b[4];
			load_matrices_turned(b, values, place_of<WIDTH>(16 * k + lane / 8 % 2 * 8 + lane % 8, 2 * n + lane / 16));
			mma16816(sums[2 * n], a, b[0], b[1]);
			mma16816(sums[2 * n + 1], a, b[2], b[3]);
		}
	}
}

template <int WIDTH> DEVICE void attend_wide(u16 *out, const u16 *q, int q_stride, const u16 *k, const u16 *v, int kv_stride,
	const int *rows, const tile *tiles, const run *all_runs, int group, int window, float scale, float cap) {
	SHARED(u16, keys, STEP * ((WIDTH + 63) / 64 * 64));
	SHARED(u16, values, STEP * ((WIDTH + 63) / 64 * 64));
	tile t = tiles[gridDim.x - 1 - blockIdx.x]; // the longest first
	const run *runs = all_runs + t.run;
	k += blockIdx.y / group * WIDTH;
	v += blockIdx.y / group * WIDTH;
	u32 query[WIDTH / 16][4];
	side sides[2] = {side_of<WIDTH>(0, query, q, q_stride, rows, t, window), side_of<WIDTH>(1, query, q, q_stride, rows, t, window)};
	// What the block's queries see, and the first and the last of the warp's.
	int begin = max(0, window > 0 ? rows[t.first] + t.shift + 1 - window : 0), end = rows[t.first + t.count - 1] + t.shift + 1;
	int mine = warp_of() * 16, first = 0, last = 0;
	if (mine < t.count) {
		first = rows[t.first + mine] + t.shift + 1;
		last = rows[t.first + min(mine + 16, t.count) - 1] + t.shift + 1;
	}

	float sums[WIDTH / 8][4], scores[STEP / 8][4], shrink[2];
	UNROLL
	for (int n = 0; n < WIDTH / 8; n++)
		for (int c = 0; c < 4; c++) sums[n][c] = 0.0f;
	begin = begin / STEP * STEP;
	bring<WIDTH>(keys, k, kv_stride, runs, t.runs, begin, end);
	for (int low = begin; low < end; low += STEP) {
		int sees = low < last && (window == 0 || low + STEP > first - window); // any of the warp's queries
		int whole = low + STEP <= first && (window == 0 || low >= last - window);
		copy_wait();
		barrier(); // keys have come, and all are done with the values before
		bring<WIDTH>(values, v, kv_stride, runs, t.runs, low, end);
		if (sees) {
			score<WIDTH>(scores, query, keys);
			shrink[0] = weigh(scores, 0, &sides[0], low, whole, scale, cap);
			shrink[1] = weigh(scores, 1, &sides[1], low, whole, scale, cap);
		}
		copy_wait();
		barrier(); // values have come, and all are done with the keys
		if (low + STEP < end) bring<WIDTH>(keys, k, kv_stride, runs, t.runs, low + STEP, end);
		if (sees) {
			UNROLL
			for (int n = 0; n < WIDTH / 8; n++)
				for (int c = 0; c < 4; c++) sums[n][c] *= shrink[c / 2];
			gather<WIDTH>(sums, scores, values);
		}
	}
	UNROLL
	for (int i = 0; i < 2; i++) {
		float by = 1.0f / quad_sum(sides[i].total);
		if (sides[i].row >= t.count) continue;
		u16 *to = out + ((size_t)(t.first + sides[i].row) * gridDim.y + blockIdx.y) * WIDTH + lane_of() % 4 * 2;
		UNROLL
		for (int n = 0; n < WIDTH / 8; n++) store_as<u32>(to + 8 * n, pair_of(sums[n][2 * i] * by, sums[n][2 * i + 1] * by));
	}
}

// attend_64 and so on take what attend takes but the width. A block of threads a
// tile of up to 64 queries (x) and query head (y).
#define ATTEND(width)                                                                                                        \
	KERNEL(attend_##width, u16 *out, const u16 *q, int q_stride, const u16 *k, const u16 *v, int kv_stride, const int *rows, \
		const tile *tiles, const run *runs, int group, int window, float scale, float cap) {                                 \
		attend_wide<width>(out, q, q_stride, k, v, kv_stride, rows, tiles, runs, group, window, scale, cap);                 \
	}
ATTEND(64)
ATTEND(80)
ATTEND(96)
ATTEND(128)
