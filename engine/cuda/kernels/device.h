// What the kernels of this folder are written in: CUDA C for NVRTC, and C++ for a
// test's compiler, whose include path has a "fake.h" that runs them on the host.
//
// The subset: threads of whole warps; barrier() where CUDA has __syncthreads,
// met by all threads of a block at the same line; what lanes give each other
// goes through the warp functions below, with all 32 lanes; shared memory is
// declared by SHARED; fused multiply-adds are spelled fmaf, and compilers make
// none of their own; no atomics.
//
// Letters: N rows of a batch, W rows that are wanted, D hidden size, V vocabulary.
#pragma once

typedef unsigned short u16;
typedef unsigned int u32;

#ifdef __CUDACC__
#define KERNEL(name, ...) extern "C" __global__ void name(__VA_ARGS__)
#define DEVICE static __device__ __forceinline__
#define SHARED(type, name, count) __shared__ __align__(16) type name[count]
#define barrier() __syncthreads()
#define warp_barrier() __syncwarp()
#define FULL 0xffffffffu
#define UNROLL _Pragma("unroll") // loops whose arrays are registers

DEVICE u32 bits_of(float x) { return __float_as_uint(x); }
DEVICE float float_of(u32 bits) { return __uint_as_float(bits); }

// A butterfly gives all lanes the same bits.
DEVICE float warp_sum(float x) {
	for (int by = 16; by > 0; by /= 2) x += __shfl_xor_sync(FULL, x, by);
	return x;
}
DEVICE double warp_sum_double(double x) {
	for (int by = 16; by > 0; by /= 2) x += __shfl_xor_sync(FULL, x, by);
	return x;
}
DEVICE float warp_max(float x) {
	for (int by = 16; by > 0; by /= 2) x = fmaxf(x, __shfl_xor_sync(FULL, x, by));
	return x;
}
DEVICE int warp_min(int x) {
	for (int by = 16; by > 0; by /= 2) x = min(x, __shfl_xor_sync(FULL, x, by));
	return x;
}

// load_as and store_as move several values at once, from a place that is a multiple
// of their size.
template <class T> DEVICE T load_as(const void *from) { return *(const T *)from; }
template <class T> DEVICE void store_as(void *to, T x) { *(T *)to = x; }
#else
#include "fake.h"
#endif

// input is what matrix products take: float, or the bits of a bfloat16 where the
// host defines BFLOAT16.
#ifdef BFLOAT16
typedef u16 input;
#else
typedef float input;
#endif

// sixteen are 16 bytes, the most that a thread loads at once.
struct alignas(16) sixteen {
	u32 words[4];
};

DEVICE float of_bfloat16(u16 bits) { return float_of((u32)bits << 16); }

// to_bfloat16 rounds to the nearest, ties to even; NaN stays NaN.
DEVICE u16 to_bfloat16(float x) {
	u32 bits = bits_of(x);
	if (x != x) return (u16)(bits >> 16 | 0x40);
	return (u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#ifdef BFLOAT16
DEVICE input to_input(float x) { return to_bfloat16(x); }
DEVICE float of_input(input x) { return of_bfloat16(x); }
#else
DEVICE input to_input(float x) { return x; }
DEVICE float of_input(input x) { return x; }
#endif

// of_half widens an IEEE half-precision number.
DEVICE float of_half(u16 h) {
	u32 sign = (u32)(h & 0x8000) << 16, rest = h & 0x7fff;
	if (rest >= 0x7c00) return float_of(sign | 0x7f800000 | (rest & 0x3ff) << 13);
	if (rest >= 0x400) return float_of(sign | (rest + (112 << 10)) << 13);
	return float_of(sign | bits_of((float)rest * 5.9604644775390625e-8f)); // 2^-24
}

// Dtypes of stored tensors, as the host numbers them.
#define STORED_F32 0
#define STORED_BF16 1
#define STORED_F16 2

// stored is value i of a stored tensor.
DEVICE float stored(const void *values, int dtype, size_t i) {
	if (dtype == STORED_F32) return ((const float *)values)[i];
	u16 bits = ((const u16 *)values)[i];
	return dtype == STORED_BF16 ? of_bfloat16(bits) : of_half(bits);
}

// exp32 is e^x within 2 units in the last place, 0 below -87.3 and infinite above
// 88.7: the same operations as engine/cpu's exp32 (after Cephes' expf).
DEVICE float exp32(float x) {
	if (!(x > -87.33654f)) return x != x ? x : 0.0f;
	if (x > 88.72283f) return float_of(0x7f800000);
	float n = x * 1.44269504088896341f + 12582912.0f;
	int k = (int)bits_of(n) - 0x4b400000;
	n -= 12582912.0f;
	float r = x - n * 0.693359375f;
	r -= n * -2.12194440e-4f;
	float p = 1.9875691500e-4f;
	p = p * r + 1.3981999507e-3f;
	p = p * r + 8.3334519073e-3f;
	p = p * r + 4.1665795894e-2f;
	p = p * r + 1.6666665459e-1f;
	p = p * r + 5.0000001201e-1f;
	p = p * (r * r) + r + 1.0f;
	int half = k / 2; // two factors, so that neither leaves the normal range
	return p * float_of((u32)(half + 127) << 23) * float_of((u32)(k - half + 127) << 23);
}

// soft_cap is limit tanh(x / limit); without a limit, x.
DEVICE float soft_cap(float x, float limit) { return limit == 0.0f ? x : limit * tanhf(x / limit); }

// lane and warp of the thread, and warps of all blocks counted on.
DEVICE int lane_of() { return threadIdx.x % 32; }
DEVICE int warp_of() { return threadIdx.x / 32; }
DEVICE int warp_of_grid() { return blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; }
DEVICE size_t thread_of_grid() { return (size_t)blockIdx.x * blockDim.x + threadIdx.x; }
