// cuBLASLt: products with several algorithms, some of which do not keep bits.
#include "state.h"

#include <cmath>

static const int INVALID = 7, UNSUPPORTED = 15, R_32F = 0, R_16BF = 14, COMPUTE_32F = 68, OP_T = 1;

struct Descriptor {
	int compute, scale, transa = 0, transb = 0;
};
struct Layout {
	int type;
	uint64_t rows, columns;
	int64_t stride;
};
struct Preference {
	uint64_t workspace = 0;
	unsigned reductions = ~0u;
};
// Algorithm is what fills the 64 opaque bytes.
struct Algorithm {
	uint64_t magic, id, type;
	uint64_t rest[5];
};
struct Result {
	Algorithm algorithm;
	size_t workspace;
	int status;
	float waves;
	int reserved[4];
};
static const uint64_t MAGIC = 0xb1a5b1a5;

// The algorithms. 0 and 1 add in one order always. 2 is the fastest where there are
// many rows and adds in another for few. 3 splits its sums by the number of rows.
enum { PLAIN, SMALL, LARGE, SPLIT };

API int cublasLtCreate(void **handle) {
	static char it;
	*handle = &it;
	return OK;
}
API int cublasLtDestroy(void *) { return OK; }
API size_t cublasLtGetVersion() { return 130000; }
API const char *cublasLtGetStatusString(int) { return state.message.c_str(); }
API int cublasLtMatmulDescCreate(Descriptor **d, int compute, int scale) {
	*d = new Descriptor{compute, scale};
	return OK;
}
API int cublasLtMatmulDescDestroy(Descriptor *d) {
	delete d;
	return OK;
}
API int cublasLtMatmulDescSetAttribute(Descriptor *d, int attribute, const int *value, size_t size) {
	if (size != 4) return fail(INVALID, "attribute of %zu bytes", size);
	if (attribute == 3) d->transa = *value;
	else if (attribute == 4) d->transb = *value;
	else return fail(INVALID, "descriptor attribute %d", attribute);
	return OK;
}
API int cublasLtMatrixLayoutCreate(Layout **l, int type, uint64_t rows, uint64_t columns, int64_t stride) {
	if (stride < (int64_t)rows) return fail(INVALID, "columns of %lu rows %ld apart", (unsigned long)rows, (long)stride);
	*l = new Layout{type, rows, columns, stride};
	return OK;
}
API int cublasLtMatrixLayoutDestroy(Layout *l) {
	delete l;
	return OK;
}
API int cublasLtMatmulPreferenceCreate(Preference **p) {
	*p = new Preference;
	return OK;
}
API int cublasLtMatmulPreferenceDestroy(Preference *p) {
	delete p;
	return OK;
}
API int cublasLtMatmulPreferenceSetAttribute(Preference *p, int attribute, const void *value, size_t size) {
	if (attribute == 1 && size == 8) p->workspace = *(const uint64_t *)value;
	else if (attribute == 3 && size == 4) p->reductions = *(const unsigned *)value;
	else return fail(INVALID, "preference attribute %d of %zu bytes", attribute, size);
	return OK;
}

static int check_shapes(const Descriptor *d, const Layout *a, const Layout *b, const Layout *c) {
	if (d->compute != COMPUTE_32F || d->scale != R_32F) return fail(UNSUPPORTED, "compute type %d, scale type %d", d->compute, d->scale);
	if (d->transa != OP_T || d->transb != 0) return fail(UNSUPPORTED, "transposed: %d, %d", d->transa, d->transb);
	if (a->type != b->type || (a->type != R_32F && a->type != R_16BF) || c->type != R_32F) return fail(UNSUPPORTED, "types %d, %d, %d", a->type, b->type, c->type);
	if (a->rows != b->rows || a->columns != c->rows || b->columns != c->columns)
		return fail(INVALID, "shapes [%lu, %lu] [%lu, %lu] [%lu, %lu]", (unsigned long)a->rows, (unsigned long)a->columns, (unsigned long)b->rows,
			(unsigned long)b->columns, (unsigned long)c->rows, (unsigned long)c->columns);
	return OK;
}

API int cublasLtMatmulAlgoGetHeuristic(void *, Descriptor *d, Layout *a, Layout *b, Layout *c, Layout *, Preference *p, int most, Result *out, int *count) {
	std::lock_guard<std::recursive_mutex> hold(state.lock);
	if (int s = begin("cublasLtMatmulAlgoGetHeuristic")) return s;
	if (int s = check_shapes(d, a, b, c)) return s;
	uint64_t n = b->columns;
	std::vector<int> ids = n < 64 ? std::vector<int>{SPLIT, SMALL, LARGE, PLAIN} : std::vector<int>{LARGE, SPLIT, PLAIN, SMALL};
	*count = 0;
	for (int id : ids) {
		if (*count == most || (id == SPLIT && (p->reductions == 0 || p->workspace < 4096))) continue;
		Result r = {};
		r.algorithm = {MAGIC, (uint64_t)id, (uint64_t)a->type, {}};
		r.workspace = id == SPLIT ? 4096 : 0;
		r.waves = 1;
		out[(*count)++] = r;
	}
	return OK;
}

typedef float Eight __attribute__((vector_size(32), aligned(4)));

// dot adds in eight lanes.
static float dot(const float *a, const float *b, uint64_t n) {
	Eight sums = {};
	uint64_t i = 0;
	for (; i + 8 <= n; i += 8) sums += *(const Eight *)(a + i) * *(const Eight *)(b + i);
	float rest = 0;
	for (; i < n; i++) rest += a[i] * b[i];
	return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7])) + rest;
}

static std::vector<float> widened(const void *p, const Layout &l) {
	std::vector<float> out(l.rows * l.columns);
	for (uint64_t c = 0; c < l.columns; c++)
		for (uint64_t r = 0; r < l.rows; r++) {
			uint64_t at = c * l.stride + r;
			if (l.type == R_32F) {
				out[c * l.rows + r] = ((const float *)p)[at];
			} else {
				unsigned bits = (unsigned)((const uint16_t *)p)[at] << 16;
				memcpy(&out[c * l.rows + r], &bits, 4);
			}
		}
	return out;
}

static int product(const void *pa, Layout a, const void *pb, Layout b, float *out, Layout c, int id, char *workspace) {
	std::vector<float> w = widened(pa, a), x = widened(pb, b);
	uint64_t k = a.rows, parts = 1;
	if (id == SPLIT) parts = c.columns < 64 ? 4 : c.columns < 500 ? 2 : 1;
	if (id == LARGE && c.columns < 32) parts = 2;
	if (id == SPLIT) memset(workspace, 0x7f, 4096);
	for (uint64_t n = 0; n < c.columns; n++)
		for (uint64_t m = 0; m < c.rows; m++) {
			float sum = 0;
			for (uint64_t p = 0; p < parts; p++) {
				uint64_t lo = k * p / parts, hi = k * (p + 1) / parts;
				sum += dot(&w[m * k + lo], &x[n * k + lo], hi - lo);
			}
			out[n * c.stride + m] = sum;
		}
	double speed[] = {1e12, c.columns < 64 ? 4e12 : 0.5e12, c.columns < 64 ? 1e12 : 4e12, 8e12};
	state.step = 2e-6 + 2.0 * k * c.rows * c.columns / speed[id];
	return OK;
}

static size_t bytes(const Layout *l) { return ((l->columns - 1) * l->stride + l->rows) * (l->type == R_32F ? 4 : 2); }

API int cublasLtMatmul(void *, Descriptor *d, const float *alpha, const void *a, Layout *la, const void *b, Layout *lb, const float *beta, const void *c,
	Layout *lc, void *out, Layout *lout, const Algorithm *algorithm, void *workspace, size_t size, Stream *s) {
	std::lock_guard<std::recursive_mutex> hold(state.lock);
	if (int e = begin("cublasLtMatmul")) return e;
	if (int e = check_stream(s, "cublasLtMatmul")) return e;
	if (int e = check_shapes(d, la, lb, lc)) return e;
	if (*alpha != 1 || *beta != 0 || c != out || lc != lout) return fail(INVALID, "alpha %g, beta %g", *alpha, *beta);
	if (!algorithm || algorithm->magic != MAGIC) return fail(INVALID, "not an algorithm of the heuristic");
	if (algorithm->type != (uint64_t)la->type) return fail(INVALID, "an algorithm for other types");
	for (const void *p : {a, b, (const void *)out})
		if ((uintptr_t)p % 16) return fail(INVALID, "a matrix at %p: want multiples of 16", p);
	if (!on_device(a, bytes(la))) return fail(INVALID, "weights [%lu, %lu] reach past their memory", (unsigned long)la->columns, (unsigned long)la->rows);
	if (!on_device(b, bytes(lb))) return fail(INVALID, "inputs [%lu, %lu] reach past their memory", (unsigned long)lb->columns, (unsigned long)lb->rows);
	if (!on_device(out, bytes(lout))) return fail(INVALID, "outputs [%lu, %lu] reach past their memory", (unsigned long)lout->columns, (unsigned long)lout->rows);
	if (algorithm->id == SPLIT && (size < 4096 || !on_device(workspace, size))) return fail(INVALID, "no workspace");
	Layout ca = *la, cb = *lb, cc = *lout;
	int id = algorithm->id;
	Op op;
	op.name = "cublasLtMatmul";
	op.uses = {a, b, out, workspace};
	op.run = [=] { return product(a, ca, b, cb, (float *)out, cc, id, (char *)workspace); };
	enqueue(s, op);
	return OK;
}
