// What kernels/device.h needs of a host: a kernel compiled with this header is a
// C++ function that the fake driver calls for every thread of a grid.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <utility>

struct FakeIndex {
	unsigned x, y, z;
};
struct FakeThread {
	FakeIndex thread, block, block_dim, grid_dim;
};

// Functions of a warp.
enum FakeWarp { FAKE_SYNC, FAKE_SUM, FAKE_SUM_DOUBLE, FAKE_MAX, FAKE_MIN, FAKE_QUAD_SUM, FAKE_QUAD_MAX, FAKE_MMA, FAKE_LOAD, FAKE_LOAD_TURNED };

// FakeRuntime is what the driver lends to kernels.
struct FakeRuntime {
	FakeThread *self; // the thread that runs
	void (*barrier)(int line);
	void (*warp)(int line, FakeWarp what, const void *in, void *out);
	void *(*shared)(const void *id, size_t bytes); // a block's, NaN at first
	void (*fault)(const char *what, int line);     // does not return
	void (*copy)(void *to, const void *from, int there, int line); // 16 bytes to shared memory, before the thread has waited
	void (*copy_wait)();
};

// FakeParam and FakeKernel describe a kernel to the driver.
struct FakeParam {
	size_t size;
	bool pointer, written;
};
struct FakeKernel {
	const char *name;
	int count;
	const FakeParam *params;
	void (*call)(void **params);
};

static FakeRuntime *fake_runtime;
extern "C" void fake_bind(FakeRuntime *r) { fake_runtime = r; }

template <class T> constexpr FakeParam fake_param() {
	constexpr bool pointer = std::is_pointer<T>::value;
	return {sizeof(T), pointer, pointer && !std::is_const<typename std::remove_pointer<T>::type>::value};
}

template <class F, F f> struct FakeCall;
template <class... A, void (*f)(A...)> struct FakeCall<void (*)(A...), f> {
	static constexpr FakeParam params[] = {fake_param<A>()...};
	static constexpr int count = sizeof...(A);
	template <size_t... I> static void with(void **p, std::index_sequence<I...>) { f(*(A *)p[I]...); }
	static void call(void **p) { with(p, std::index_sequence_for<A...>{}); }
};

#define KERNEL(name, ...)                                                                                              \
	static void name(__VA_ARGS__);                                                                                     \
	extern "C" {                                                                                                       \
	extern const FakeKernel fake_kernel_##name;                                                                        \
	const FakeKernel fake_kernel_##name = {#name, FakeCall<decltype(&name), &name>::count,                             \
		FakeCall<decltype(&name), &name>::params, FakeCall<decltype(&name), &name>::call};                             \
	}                                                                                                                  \
	static void name(__VA_ARGS__)
#define DEVICE [[maybe_unused]] static inline

// FakeShared is shared memory with its bounds checked.
template <class T, int N> struct FakeShared {
	T *values;
	int line;
	T &operator[](size_t i) {
		if (i >= (size_t)N) fake_runtime->fault("index outside shared memory", line);
		return values[i];
	}
};
#define SHARED(type, name, size)                                                                                       \
	static const char name##_id = 0;                                                                                   \
	FakeShared<type, size> name = {(type *)fake_runtime->shared(&name##_id, sizeof(type) * (size)), __LINE__}

#define threadIdx (fake_runtime->self->thread)
#define blockIdx (fake_runtime->self->block)
#define blockDim (fake_runtime->self->block_dim)
#define gridDim (fake_runtime->self->grid_dim)

#define barrier() fake_runtime->barrier(__LINE__)
#define warp_barrier() fake_runtime->warp(__LINE__, FAKE_SYNC, nullptr, nullptr)

template <class T> static inline T fake_warp(int line, FakeWarp what, T x) {
	T y;
	fake_runtime->warp(line, what, &x, &y);
	return y;
}
#define warp_sum(x) fake_warp<float>(__LINE__, FAKE_SUM, x)
#define warp_sum_double(x) fake_warp<double>(__LINE__, FAKE_SUM_DOUBLE, x)
#define warp_max(x) fake_warp<float>(__LINE__, FAKE_MAX, x)
#define warp_min(x) fake_warp<int>(__LINE__, FAKE_MIN, x)

#define quad_sum(x) fake_warp<float>(__LINE__, FAKE_QUAD_SUM, x)
#define quad_max(x) fake_warp<float>(__LINE__, FAKE_QUAD_MAX, x)

struct FakeMma {
	float c[4];
	unsigned a[4], b[2];
};
static inline void fake_mma(int line, float *c, const unsigned *a, unsigned low, unsigned high) {
	FakeMma m = {{c[0], c[1], c[2], c[3]}, {a[0], a[1], a[2], a[3]}, {low, high}};
	fake_runtime->warp(line, FAKE_MMA, &m, c);
}
#define mma16816(c, a, low, high) fake_mma(__LINE__, c, a, low, high)
#define load_matrices(out, tile, i) fake_runtime->warp(__LINE__, FAKE_LOAD, &tile[i], out)
#define load_matrices_turned(out, tile, i) fake_runtime->warp(__LINE__, FAKE_LOAD_TURNED, &tile[i], out)
#define copy_async(tile, i, from, there) fake_runtime->copy(&tile[i], from, there, __LINE__)
#define copy_wait() fake_runtime->copy_wait()
#define UNROLL
static inline float exp2_fast(float x) { return exp2f(x); }

template <class T> static inline T load_as(const void *from) {
	if ((size_t)from % sizeof(T)) fake_runtime->fault("a load from a place that is no multiple of its size", 0);
	T x;
	memcpy(&x, from, sizeof x);
	return x;
}
template <class T> static inline void store_as(void *to, T x) {
	if ((size_t)to % sizeof(T)) fake_runtime->fault("a store to a place that is no multiple of its size", 0);
	memcpy(to, &x, sizeof x);
}

static inline unsigned bits_of(float x) {
	unsigned bits;
	memcpy(&bits, &x, sizeof bits);
	return bits;
}
static inline float float_of(unsigned bits) {
	float x;
	memcpy(&x, &bits, sizeof x);
	return x;
}
template <class T> static inline T min(T a, T b) { return b < a ? b : a; }
template <class T> static inline T max(T a, T b) { return a < b ? b : a; }
