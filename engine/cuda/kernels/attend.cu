#include "device.h"

// Attention: softmax(cap(q kᵀ scale)) v over the keys a query sees, along blocks of
// keys with a running maximum (Dao et al. 2022, FlashAttention, algorithm 1).
// Blocks lie at absolute positions of a sequence, each query's sums are its own
// warp's, and keys that it does not see are left out: a query's bits depend on its
// place in its own sequence alone. tensor.cu does the same for heads of some widths
// in bfloat16. The reference is engine/cpu's tile.

#define TILE 16   // queries of one head that a block of threads takes
#define WARPS 4   // of which each warp takes TILE / WARPS
#define EACH (TILE / WARPS)
#define KEYS 32   // keys at a time, one a lane
#define CHUNK 64  // columns of them at a time
#define WIDEST 256

// tile: queries of outputs [first, first + count), all of one segment. Their
// sequence's keys lie in runs: keys from position begin on are rows position +
// shift. These are five numbers and two.
struct tile {
	int first, count, shift, run, runs;
};
struct run {
	int begin, shift;
};

// row_of is the row of the key at a position.
DEVICE int row_of(const run *runs, int count, int position) {
	int r = count - 1;
	while (r > 0 && runs[r].begin > position) r--;
	return position + runs[r].shift;
}

// attend: out [W, H*width] of queries q (rows of the batch, q_stride apart), keys k
// and values v (rows kv_stride apart); width is of a head, group how many query
// heads share keys. A block of threads a tile (x) and query head (y).
KERNEL(attend, input *out, const input *q, int q_stride, const input *k, const input *v, int kv_stride,
	const int *rows, const tile *tiles, const run *all_runs, int group, int width, int window, float scale, float cap) {
	SHARED(float, queries, TILE * WIDEST);
	SHARED(float, keys, KEYS * (CHUNK + 1));
	SHARED(float, weights, TILE * KEYS);
	SHARED(int, key_rows, KEYS);
	tile t = tiles[blockIdx.x];
	const run *runs = all_runs + t.run;
	int head = blockIdx.y, lane = lane_of(), mine = warp_of() * EACH;
	k += head / group * width;
	v += head / group * width;
	for (int i = threadIdx.x; i < t.count * width; i += blockDim.x)
		queries[i] = of_input(q[(size_t)rows[t.first + i / width] * q_stride + (size_t)head * width + i % width]);

	float acc[EACH][WIDEST / 32], top[EACH], sum[EACH];
	int from[EACH], to[EACH]; // keys that each of the warp's queries sees
	UNROLL
	for (int i = 0; i < EACH; i++) {
		top[i] = float_of(0xff800000);
		sum[i] = 0.0f;
		from[i] = to[i] = 0;
		if (mine + i < t.count) {
			to[i] = rows[t.first + mine + i] + t.shift + 1;
			if (window > 0 && to[i] > window) from[i] = to[i] - window;
		}
		UNROLL
		for (int c = 0; c < WIDEST / 32; c++) acc[i][c] = 0.0f;
	}
	int first = rows[t.first] + t.shift + 1 - window, end = rows[t.first + t.count - 1] + t.shift + 1;
	if (window == 0 || first < 0) first = 0;

	for (int low = first / KEYS * KEYS; low < end; low += KEYS) {
		float scores[EACH] = {0.0f, 0.0f, 0.0f, 0.0f};
		for (int column = 0; column < width; column += CHUNK) {
			int columns = min(CHUNK, width - column);
			barrier(); // until all are done with what is there
			if (column == 0 && threadIdx.x < KEYS && low + (int)threadIdx.x < end)
				key_rows[threadIdx.x] = row_of(runs, t.runs, low + threadIdx.x);
			for (int i = threadIdx.x; i < KEYS * columns; i += blockDim.x) {
				int key = low + i / columns;
				if (key < end)
					keys[i / columns * (CHUNK + 1) + i % columns] =
						of_input(k[(size_t)row_of(runs, t.runs, key) * kv_stride + column + i % columns]);
			}
			barrier();
			UNROLL
			for (int i = 0; i < EACH; i++) {
				if (low + lane < from[i] || low + lane >= to[i]) continue;
				const float *query = &queries[(mine + i) * width + column], *key = &keys[lane * (CHUNK + 1)];
				for (int c = 0; c < columns; c++) scores[i] = fmaf(query[c], key[c], scores[i]);
			}
		}
		UNROLL
		for (int i = 0; i < EACH; i++) {
			if (low >= to[i] || low + KEYS <= from[i]) continue;
			int seen = low + lane >= from[i] && low + lane < to[i];
			float score = seen ? soft_cap(scores[i] * scale, cap) : float_of(0xff800000);
			float most = fmaxf(top[i], warp_max(score));
			float shrink = sum[i] == 0.0f ? 1.0f : exp32(top[i] - most);
			float weight = seen ? exp32(score - most) : 0.0f;
			sum[i] = sum[i] * shrink + warp_sum(weight);
			top[i] = most;
			weights[(mine + i) * KEYS + lane] = weight;
			UNROLL
			for (int c = 0; c < WIDEST / 32; c++) acc[i][c] *= shrink;
		}
		warp_barrier();
		UNROLL
		for (int i = 0; i < EACH; i++) {
			int start = max(from[i] - low, 0), stop = min(to[i] - low, KEYS);
			for (int j = start; j < stop; j++) {
				float weight = weights[(mine + i) * KEYS + j];
				const input *value = v + (size_t)key_rows[j] * kv_stride;
				UNROLL
				for (int c = 0; c < WIDEST / 32; c++)
					if (lane + 32 * c < width) acc[i][c] = fmaf(weight, of_input(value[lane + 32 * c]), acc[i][c]);
			}
		}
	}
	UNROLL
	for (int i = 0; i < EACH; i++) {
		if (mine + i >= t.count) continue;
		input *to_row = out + ((size_t)(t.first + mine + i) * gridDim.y + head) * width;
		UNROLL
		for (int c = 0; c < WIDEST / 32; c++)
			if (lane + 32 * c < width) to_row[lane + 32 * c] = to_input(acc[i][c] * (1.0f / sum[i]));
	}
}
