// Products on tensor cores, and what feeds them: for NVRTC in PTX (PTX ISA, "Warp
// Level Matrix Instructions" and "cp.async"), sm_80 and later; a test's compiler has
// them in its "fake.h". All 32 lanes of a warp call those of the warp together.
#pragma once
#include "device.h"

#ifdef __CUDACC__
// quad_max and quad_sum are over the four lanes that have parts of one row.
DEVICE float quad_max(float x) {
	for (int by = 2; by > 0; by /= 2) x = fmaxf(x, __shfl_xor_sync(FULL, x, by));
	return x;
}
DEVICE float quad_sum(float x) {
	for (int by = 2; by > 0; by /= 2) x += __shfl_xor_sync(FULL, x, by);
	return x;
}

// shared_address is where 16-bit value i of a tile in shared memory lies.
DEVICE u32 shared_address(const u16 *tile, int i) {
	u32 at;
	asm("{ .reg .u64 t; cvta.to.shared.u64 t, %1; cvt.u32.u64 %0, t; }" : "=r"(at) : "l"(tile));
	return at + 2 * i;
}

// copy_async begins to copy 16 bytes to value i of a tile and the next, zeros unless
// they are there; copy_wait waits for all that the thread began. Others see them
// after a barrier.
DEVICE void copy_async(u16 *tile, int i, const void *from, int there) {
	int bytes = there ? 16 : 0;
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(tile, i)), "l"(from), "r"(bytes) : "memory");
}
DEVICE void copy_wait() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// load_matrices loads four 8 x 8 matrices of a tile's values: lane l names row l % 8 of
// matrix l / 8, which begins at value i, and gets of each matrix columns 2 (l % 4)
// and the next of row l / 4; turned, of the transposed matrix.
DEVICE void load_matrices(u32 *out, const u16 *tile, int i) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
		: "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(shared_address(tile, i)) : "memory");
}
DEVICE void load_matrices_turned(u32 *out, const u16 *tile, int i) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
		: "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(shared_address(tile, i)) : "memory");
}

// mma16816: c [16, 8] += a [16, 16] b [16, 8] in bfloat16. With r = lane / 4 and k =
// 2 (lane % 4): c[0], c[1] are columns k, k + 1 of row r, c[2], c[3] of row r + 8;
// a[0] holds columns k, k + 1 of row r, a[1] of row r + 8, a[2] and a[3] the same 8
// columns on; low and high rows k, k + 1 and k + 8, k + 9 of column r of b.
DEVICE void mma16816(float *c, const u32 *a, u32 low, u32 high) {
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
		: "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(low), "r"(high));
}

// exp2_fast is 2^x within 2 units in the last place, 0 where that is subnormal.
DEVICE float exp2_fast(float x) {
	float y;
	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
}

// pair_of rounds two numbers to a pair of bfloat16, the first in the lower half.
DEVICE u32 pair_of(float low, float high) {
	u32 pair;
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
	return pair;
}
#else
DEVICE u32 pair_of(float low, float high) { return to_bfloat16(low) | (u32)to_bfloat16(high) << 16; }
#endif
