// Kernels on the host: a block's threads are coroutines that change places at
// barriers and at the functions of a warp. Threads and blocks run in random
// order; every launch runs twice, and both times must give the same bits.
#include "fake.h"
#include "state.h"

#include <csetjmp>
#include <csignal>
#include <dlfcn.h>
#include <sys/mman.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

static const int MAX_THREADS = 1024;
static const size_t STACK = 64 << 10;
static const size_t MAX_SHARED = 48 << 10; // static shared memory of a block

enum Why { READY, AT_BARRIER, IN_WARP, ENDED };

// Copy is 16 bytes on their way to shared memory.
struct Copy {
	void *to;
	const void *from; // null: zeros
};

struct Lane {
#ifdef __x86_64__
	void *stack_pointer;
#else
	ucontext_t saved;
#endif
	FakeThread thread;
	Why why;
	int line;
	FakeWarp what;
	const void *in;
	void *out;
	std::vector<Copy> copies; // that the thread has not waited for
};

static Lane lanes[MAX_THREADS];
static char *stacks;
static int current;
static const FakeKernel *kernel;
static void **arguments;
static std::map<const void *, std::vector<char>> shared_memory;
static size_t shared_bytes;
static FakeRuntime runtime;
static volatile sig_atomic_t running; // a kernel, on the thread below
static thread_local bool mine;
static sigjmp_buf escape;
static char problem[512];

#ifdef __x86_64__
static void *main_pointer;
extern "C" void fake_switch(void **save, void *load);
asm(".text\n.globl fake_switch\n.hidden fake_switch\nfake_switch:\n"
	"push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
	"mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
	"pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");
static void leave() { fake_switch(&lanes[current].stack_pointer, main_pointer); }
static void enter(int i) {
	current = i;
	runtime.self = &lanes[i].thread;
	fake_switch(&main_pointer, lanes[i].stack_pointer);
}
#else
static ucontext_t main_context;
static void leave() { swapcontext(&lanes[current].saved, &main_context); }
static void enter(int i) {
	current = i;
	runtime.self = &lanes[i].thread;
	swapcontext(&main_context, &lanes[i].saved);
}
#endif

static void fault(const char *what, int line) {
	const FakeThread &t = lanes[current].thread;
	snprintf(problem, sizeof problem, "kernel %s, line %d, thread %u of block (%u, %u): %s (seed %llu)", kernel->name, line, t.thread.x, t.block.x, t.block.y,
		what, (unsigned long long)state.seed);
	siglongjmp(escape, 1);
}

static void on_signal(int number, siginfo_t *info, void *where);
static struct sigaction before_segv, before_bus;

static void on_signal(int number, siginfo_t *info, void *where) {
	if (running && mine) {
		char what[64];
		snprintf(what, sizeof what, "touched %p, which is no memory of the device", info->si_addr);
		fault(what, 0);
	}
	struct sigaction &before = number == SIGSEGV ? before_segv : before_bus;
	if (before.sa_flags & SA_SIGINFO) before.sa_sigaction(number, info, where);
}

static void start() {
	kernel->call(arguments);
	if (!lanes[current].copies.empty()) fault("ends before what it copies has come", 0);
	lanes[current].why = ENDED;
	leave();
	__builtin_trap();
}

static void prepare(int i) {
	char *top = stacks + (i + 1) * STACK;
#ifdef __x86_64__
	void **sp = (void **)(top - 64);
	*--sp = nullptr; // where start would return to
	*--sp = (void *)start;
	for (int r = 0; r < 6; r++) *--sp = nullptr;
	lanes[i].stack_pointer = sp;
#else
	getcontext(&lanes[i].saved);
	lanes[i].saved.uc_stack.ss_sp = stacks + i * STACK;
	lanes[i].saved.uc_stack.ss_size = STACK;
	lanes[i].saved.uc_link = nullptr;
	makecontext(&lanes[i].saved, start, 0);
	(void)top;
#endif
	lanes[i].why = READY;
	lanes[i].copies.clear();
}

static void block_barrier(int line) {
	lanes[current].why = AT_BARRIER;
	lanes[current].line = line;
	leave();
}

static std::vector<int> ready;

// reduce is what a butterfly over lanes gives each of them, as many as twice by.
template <class T, class F> static void reduce(int first, F f, int by = 16) {
	T v[32], w[32];
	for (int i = 0; i < 32; i++) v[i] = *(const T *)lanes[first + i].in;
	for (; by > 0; by /= 2) {
		for (int i = 0; i < 32; i++) w[i] = f(v[i], v[i ^ by]);
		memcpy(v, w, sizeof v);
	}
	for (int i = 0; i < 32; i++) *(T *)lanes[first + i].out = v[i];
}

// mma16816 of lanes, as the PTX manual lays it out: a lane's place is row lane / 4
// and columns 2 (lane % 4) on.
static float half_of(unsigned pair, int high) {
	unsigned bits = high ? pair & 0xffff0000u : pair << 16;
	float f;
	memcpy(&f, &bits, 4);
	return f;
}
static void mma(int first) {
	float a[16][16], b[16][8];
	for (int l = 0; l < 32; l++) {
		const FakeMma *m = (const FakeMma *)lanes[first + l].in;
		int row = l / 4, column = l % 4 * 2;
		for (int h = 0; h < 2; h++) {
			a[row][column + h] = half_of(m->a[0], h);
			a[row + 8][column + h] = half_of(m->a[1], h);
			a[row][column + 8 + h] = half_of(m->a[2], h);
			a[row + 8][column + 8 + h] = half_of(m->a[3], h);
			b[column + h][row] = half_of(m->b[0], h);
			b[column + 8 + h][row] = half_of(m->b[1], h);
		}
	}
	for (int l = 0; l < 32; l++) {
		const FakeMma *m = (const FakeMma *)lanes[first + l].in;
		float *out = (float *)lanes[first + l].out;
		for (int i = 0; i < 4; i++) {
			int row = l / 4 + i / 2 * 8, column = l % 4 * 2 + i % 2;
			float sum = m->c[i];
			for (int k = 0; k < 16; k++) sum = fmaf(a[row][k], b[k][column], sum);
			out[i] = sum;
		}
	}
}

static bool in_shared(const void *p) {
	for (auto &m : shared_memory)
		if (p >= m.second.data() && (const char *)p + 16 <= m.second.data() + m.second.size()) return (size_t)p % 16 == 0;
	return false;
}

// load_matrices of lanes, as the PTX manual says of ldmatrix.
static void load(int first, bool turned, int line) {
	const unsigned short *rows[32];
	for (int l = 0; l < 32; l++) {
		rows[l] = (const unsigned short *)lanes[first + l].in;
		if (!in_shared(rows[l])) fault("a row of a matrix that is not 16 whole bytes of shared memory", line);
	}
	for (int l = 0; l < 32; l++)
		for (int m = 0; m < 4; m++) {
			unsigned pair[2];
			for (int h = 0; h < 2; h++) pair[h] = turned ? rows[8 * m + l % 4 * 2 + h][l / 4] : rows[8 * m + l / 4][l % 4 * 2 + h];
			((unsigned *)lanes[first + l].out)[m] = pair[0] | pair[1] << 16;
		}
}

static void land(const Copy &c) {
	if (c.from) memcpy(c.to, c.from, 16);
	else memset(c.to, 0, 16);
}

// copy begins a copy, which comes at once or when the thread waits for it.
static void begin_copy(void *to, const void *from, int there, int line) {
	if (!in_shared(to)) fault("a copy to what is not 16 whole bytes of shared memory", line);
	if ((size_t)from % 16 || (there && !on_device(from, 16))) fault("a copy from what is not 16 whole bytes of the device's memory", line);
	Copy c = {to, there ? from : nullptr};
	if (randomly() % 2) land(c);
	else lanes[current].copies.push_back(c);
}
static void wait_for_copies() {
	for (auto &c : lanes[current].copies) land(c);
	lanes[current].copies.clear();
}

static void warp(int line, FakeWarp what, const void *in, void *out) {
	Lane &me = lanes[current];
	me.why = IN_WARP, me.line = line, me.what = what, me.in = in, me.out = out;
	int first = current / 32 * 32;
	for (int i = first; i < first + 32; i++)
		if (lanes[i].why != IN_WARP || lanes[i].line != line || lanes[i].what != what) return leave();
	switch (what) {
	case FAKE_SUM: reduce<float>(first, [](float a, float b) { return a + b; }); break;
	case FAKE_SUM_DOUBLE: reduce<double>(first, [](double a, double b) { return a + b; }); break;
	case FAKE_MAX: reduce<float>(first, [](float a, float b) { return fmaxf(a, b); }); break;
	case FAKE_MIN: reduce<int>(first, [](int a, int b) { return a < b ? a : b; }); break;
	case FAKE_QUAD_SUM: reduce<float>(first, [](float a, float b) { return a + b; }, 2); break;
	case FAKE_QUAD_MAX: reduce<float>(first, [](float a, float b) { return fmaxf(a, b); }, 2); break;
	case FAKE_MMA: mma(first); break;
	case FAKE_LOAD: load(first, false, line); break;
	case FAKE_LOAD_TURNED: load(first, true, line); break;
	default: break;
	}
	for (int i = first; i < first + 32; i++) {
		lanes[i].why = READY;
		if (i != current) ready.push_back(i);
	}
	ready.push_back(current);
	leave(); // so that any of them may go on first
}

static void *shared(const void *id, size_t bytes) {
	std::vector<char> &m = shared_memory[id];
	if (m.empty()) {
		m.assign(bytes, (char)0xff);
		shared_bytes += bytes;
		if (shared_bytes > MAX_SHARED) fault("more than 48 KiB of shared memory", 0);
	}
	return m.data();
}

// run_block runs the threads of a block till they end.
static void run_block(int threads) {
	for (auto &m : shared_memory) m.second.clear();
	shared_bytes = 0;
	ready.clear();
	for (int i = 0; i < threads; i++) {
		prepare(i);
		ready.push_back(i);
	}
	for (int ended = 0; ended < threads;) {
		if (ready.empty()) { // all wait
			int line = lanes[0].line;
			for (current = 0; current < threads; current++) {
				const Lane &l = lanes[current];
				if (l.why == IN_WARP) fault("a function of the warp that not all lanes come to", l.line);
				if (l.why == ENDED || l.line != line) fault("a barrier that not all threads come to", line);
			}
			for (int i = 0; i < threads; i++) {
				lanes[i].why = READY;
				ready.push_back(i);
			}
		}
		size_t at = randomly() % ready.size();
		int next = ready[at];
		ready[at] = ready.back();
		ready.pop_back();
		enter(next);
		if (lanes[next].why == ENDED) ended++;
	}
}

static void run_grid(const Launch &l) {
	unsigned blocks = l.grid[0] * l.grid[1] * l.grid[2], threads = l.block[0];
	std::vector<unsigned> order(blocks);
	for (unsigned i = 0; i < blocks; i++) order[i] = i;
	for (unsigned i = blocks; i > 1; i--) std::swap(order[i - 1], order[randomly() % i]);
	for (unsigned b : order) {
		for (unsigned t = 0; t < threads; t++)
			lanes[t].thread = {{t, 0, 0}, {b % l.grid[0], b / l.grid[0] % l.grid[1], b / l.grid[0] / l.grid[1]}, {threads, 1, 1}, {l.grid[0], l.grid[1], l.grid[2]}};
		run_block(threads);
	}
}

static int guarded(const Launch &l) {
	struct sigaction action = {};
	action.sa_sigaction = on_signal;
	action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
	sigaction(SIGSEGV, &action, &before_segv);
	sigaction(SIGBUS, &action, &before_bus);
	mine = true, running = 1;
	int status = OK;
	if (sigsetjmp(escape, 1) == 0)
		run_grid(l);
	else
		status = fail(ILLEGAL_ADDRESS, "%s", problem);
	mine = false, running = 0;
	sigaction(SIGSEGV, &before_segv, nullptr);
	sigaction(SIGBUS, &before_bus, nullptr);
	return status;
}

int copy_params(Launch *l, void **params, Op *op) {
	const FakeKernel *k = l->kernel;
	op->name = k->name;
	for (int i = 0; i < k->count; i++) {
		if (!params[i]) return fail(INVALID_VALUE, "%s: %d parameters, want %d", k->name, i, k->count);
		l->params.emplace_back((char *)params[i], (char *)params[i] + 8);
		if (k->params[i].pointer) {
			void *p = *(void **)params[i];
			if (p && !on_device(p, 1)) return fail(INVALID_VALUE, "%s: parameter %d, %p, is no memory of the device", k->name, i, p);
			op->uses.push_back(p);
		} else if (k->params[i].size == 4 && *(unsigned *)((char *)params[i] + 4)) {
			return fail(INVALID_VALUE, "%s: parameter %d has more than 32 bits", k->name, i);
		}
	}
	return params[k->count] ? fail(INVALID_VALUE, "%s: more than its %d parameters", k->name, k->count) : OK;
}

int check_launch(const Launch &l) {
	const char *name = l.kernel->name;
	if (l.block[1] != 1 || l.block[2] != 1 || l.block[0] % 32 || l.block[0] == 0 || l.block[0] > MAX_THREADS)
		return fail(INVALID_VALUE, "%s: blocks of %u x %u x %u threads", name, l.block[0], l.block[1], l.block[2]);
	if (l.grid[0] == 0 || l.grid[1] == 0 || l.grid[2] == 0 || l.grid[0] > 0x7fffffffu || l.grid[1] > 65535 || l.grid[2] > 65535)
		return fail(INVALID_VALUE, "%s: a grid of %u x %u x %u blocks", name, l.grid[0], l.grid[1], l.grid[2]);
	return OK;
}

// run_launch runs a launch twice from the same memory.
int run_launch(const Launch &l) {
	if (!stacks) stacks = (char *)mmap(nullptr, MAX_THREADS * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	kernel = l.kernel;
	std::vector<void *> params;
	std::map<char *, std::pair<std::vector<char>, std::vector<char>>> written;
	for (int i = 0; i < kernel->count; i++) {
		params.push_back((void *)l.params[i].data());
		void *p = *(void **)l.params[i].data();
		const char *base;
		if (!kernel->params[i].pointer || !p) continue;
		const Range *r = find(state.device, p, &base);
		if (!r) return fail(ILLEGAL_ADDRESS, "parameter %d is memory that was freed", i);
		if (kernel->params[i].written) written[(char *)base].first.assign(base, base + r->size);
	}
	arguments = params.data();
	char planted[64];
	if (sscanf(state.fault.c_str(), "segfault %63s", planted) == 1 && !strcmp(planted, kernel->name)) {
		static void *nowhere = (void *)64;
		for (int i = 0; i < kernel->count; i++)
			if (kernel->params[i].pointer) params[i] = &nowhere;
	}
	if (int e = guarded(l)) return e;
	for (auto &w : written) w.second.second.assign(w.first, w.first + w.second.first.size());
	for (auto &w : written) memcpy(w.first, w.second.first.data(), w.second.first.size());
	if (int e = guarded(l)) return e;
	for (auto &w : written)
		if (memcmp(w.first, w.second.second.data(), w.second.second.size()))
			return fail(LAUNCH_FAILED, "kernel %s gives other bits in another order of its threads (seed %llu)", kernel->name, (unsigned long long)state.seed);
	return OK;
}

void bind_module(void *handle) {
	runtime = {nullptr, block_barrier, warp, shared, fault, begin_copy, wait_for_copies};
	if (auto bind = (void (*)(FakeRuntime *))dlsym(handle, "fake_bind")) bind(&runtime);
}
