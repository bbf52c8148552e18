// The driver API: memory with guard pages, streams, events, modules.
#include "state.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

State state;
static thread_local void *context;
static char the_context; // of the one device

int fail(int status, const char *format, ...) {
	char text[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	state.message = text;
	return status;
}

int begin(const char *call, bool needs_context) {
	if (!state.fault.empty()) { // "status CALL NUMBER COUNTDOWN"
		char name[64];
		int status, count;
		if (sscanf(state.fault.c_str(), "status %63s %d %d", name, &status, &count) == 3 && !strcmp(name, call)) {
			if (count <= 1) {
				state.fault.clear();
				return fail(status, "planted in %s", call);
			}
			char next[128];
			snprintf(next, sizeof next, "status %s %d %d", name, status, count - 1);
			state.fault = next;
		}
	}
	if (!state.ready) return fail(NOT_INITIALIZED, "%s before cuInit", call);
	if (state.sticky) return state.sticky;
	if (needs_context && context != &the_context) return fail(INVALID_CONTEXT, "%s: the calling thread has no context", call);
	return OK;
}

#define BEGIN(...)                                                                                                     \
	std::lock_guard<std::recursive_mutex> hold(state.lock);                                                            \
	if (int s = begin(__func__, ##__VA_ARGS__)) return s

const Range *find(const std::map<const char *, Range> &in, const void *p, const char **base) {
	auto it = in.upper_bound((const char *)p);
	if (it == in.begin()) return nullptr;
	--it;
	if ((const char *)p >= it->first + it->second.size) return nullptr;
	*base = it->first;
	return &it->second;
}

bool on_device(const void *p, size_t bytes) {
	const char *base;
	const Range *r = find(state.device, p, &base);
	return r && (const char *)p + bytes <= base + r->size;
}

static bool on_host(const void *p, size_t bytes) {
	const char *base;
	if (const Range *r = find(state.pinned, p, &base)) return (const char *)p + bytes <= base + r->size;
	auto it = state.registered.upper_bound((const char *)p);
	if (it == state.registered.begin()) return false;
	--it;
	return (const char *)p + bytes <= it->first + it->second;
}

uint64_t randomly() {
	state.seed ^= state.seed << 13;
	state.seed ^= state.seed >> 7;
	return state.seed ^= state.seed << 17;
}

// ---- the test's own

// fake_reset makes all as at first. fake_plant plants a fault; fake_set changes the
// device; fake_count says how many calls there were.
API void fake_reset(uint64_t seed) {
	std::lock_guard<std::recursive_mutex> hold(state.lock);
	state.ready = false;
	state.sticky = OK;
	state.fault.clear();
	state.memory = (size_t)8 << 30;
	state.major = 9, state.minor = 0, state.devices = 1, state.driver = 13000;
	state.seed = seed ? seed : 1;
}
API void fake_plant(const char *fault) {
	std::lock_guard<std::recursive_mutex> hold(state.lock);
	state.fault = fault;
	if (!*fault) state.sticky = OK; // for those of the process who did nothing wrong
}
API void fake_set(const char *what, size_t value) {
	std::lock_guard<std::recursive_mutex> hold(state.lock);
	std::string name = what;
	if (name == "memory") state.memory = value;
	if (name == "capability") state.major = value / 10, state.minor = value % 10;
	if (name == "devices") state.devices = value;
	if (name == "driver") state.driver = value;
}
API size_t fake_count(const char *what) {
	std::lock_guard<std::recursive_mutex> hold(state.lock);
	std::string name = what;
	if (name == "allocations") return state.allocations;
	if (name == "launches") return state.launches;
	if (name == "used") return state.used;
	if (name == "registered") {
		size_t sum = 0;
		for (auto &r : state.registered) sum += r.second;
		return sum;
	}
	if (name == "left") return state.device.size() + state.pinned.size() + state.registered.size() + state.streams.size() + state.events.size();
	return 0;
}

// ---- errors and devices

API int cuInit(unsigned) {
	std::lock_guard<std::recursive_mutex> hold(state.lock);
	state.ready = true;
	if (int s = begin("cuInit", false)) return s;
	return state.devices ? OK : NO_DEVICE;
}
API int cuGetErrorName(int status, const char **out) {
	static const std::map<int, const char *> names = {
		{INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"}, {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
		{NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"}, {NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
		{INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"}, {ECC_UNCORRECTABLE, "CUDA_ERROR_ECC_UNCORRECTABLE"},
		{INVALID_SOURCE, "CUDA_ERROR_INVALID_SOURCE"}, {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
		{NOT_FOUND, "CUDA_ERROR_NOT_FOUND"}, {NOT_READY, "CUDA_ERROR_NOT_READY"},
		{ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"}, {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"}};
	auto it = names.find(status);
	if (it == names.end()) return INVALID_VALUE;
	*out = it->second;
	return OK;
}
API int cuGetErrorString(int, const char **out) { // what the fake found, where a driver has a phrase
	std::lock_guard<std::recursive_mutex> hold(state.lock);
	*out = state.message.c_str();
	return OK;
}
API int cuDriverGetVersion(int *version) {
	*version = state.driver;
	return OK;
}
API int cuDeviceGetCount(int *count) {
	BEGIN(false);
	*count = state.devices;
	return OK;
}
API int cuDeviceGet(int *device, int ordinal) {
	BEGIN(false);
	if (ordinal < 0 || ordinal >= state.devices) return fail(101, "device %d of %d", ordinal, state.devices);
	*device = ordinal;
	return OK;
}
API int cuDeviceGetName(char *name, int size, int) {
	BEGIN(false);
	snprintf(name, size, "fake GPU");
	return OK;
}
API int cuDeviceTotalMem_v2(size_t *bytes, int) {
	BEGIN(false);
	*bytes = state.memory;
	return OK;
}
API int cuDeviceGetAttribute(int *value, int attribute, int) {
	BEGIN(false);
	switch (attribute) {
	case 75: *value = state.major; return OK;
	case 76: *value = state.minor; return OK;
	case 16: *value = 132; return OK; // multiprocessors
	}
	return fail(INVALID_VALUE, "device attribute %d", attribute);
}
API int cuDevicePrimaryCtxRetain(void **out, int) {
	BEGIN(false);
	*out = &the_context;
	return OK;
}
API int cuDevicePrimaryCtxRelease_v2(int) {
	std::lock_guard<std::recursive_mutex> hold(state.lock);
	return OK;
}
API int cuCtxSetCurrent(void *c) {
	BEGIN(false);
	context = c;
	return OK;
}
API int cuMemGetInfo_v2(size_t *left, size_t *total) {
	BEGIN();
	*left = state.memory - state.used;
	*total = state.memory;
	return OK;
}

// ---- memory

// mapped maps size bytes that end within 256 bytes of a guard page, NaN as floats.
static char *mapped(size_t size, Range *r) {
	size_t page = sysconf(_SC_PAGESIZE), rounded = (size + 255) / 256 * 256;
	r->size = size;
	r->mapped = (rounded + page - 1) / page * page + 2 * page;
	r->mapping = (char *)mmap(nullptr, r->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->mapping == MAP_FAILED) return nullptr;
	mprotect(r->mapping, page, PROT_NONE);
	mprotect(r->mapping + r->mapped - page, page, PROT_NONE);
	char *base = r->mapping + r->mapped - page - rounded;
	memset(base, 0xff, rounded);
	return base;
}

// slack_is_whole says whether nobody wrote between a range and its guard page.
static bool slack_is_whole(const char *base, const Range &r) {
	for (const char *p = base + r.size; p < base + (r.size + 255) / 256 * 256; p++)
		if (*p != (char)0xff) return false;
	return true;
}

API int cuMemAlloc_v2(char **out, size_t size) {
	BEGIN();
	if (size == 0) return fail(INVALID_VALUE, "cuMemAlloc of nothing");
	if (state.used + size > state.memory) return fail(OUT_OF_MEMORY, "%zu bytes of %zu are in use, %zu more do not fit", state.used, state.memory, size);
	Range r;
	char *base = mapped(size, &r);
	if (!base) return fail(OUT_OF_MEMORY, "the host has no memory for the fake's");
	state.device[base] = r;
	state.used += size;
	state.allocations++;
	*out = base;
	return OK;
}
API int cuMemFree_v2(char *p) {
	BEGIN();
	auto it = state.device.find(p);
	if (it == state.device.end()) return fail(INVALID_VALUE, "cuMemFree of what was not allocated");
	for (auto &s : state.streams)
		for (auto &op : s.first->ops)
			for (const void *u : op.uses)
				if (u >= p && u < p + it->second.size) return fail(INVALID_VALUE, "cuMemFree of memory that queued work (%s) uses", op.name.c_str());
	if (!slack_is_whole(p, it->second)) return fail(ILLEGAL_ADDRESS, "something wrote past the end of %zu bytes", it->second.size);
	state.used -= it->second.size;
	munmap(it->second.mapping, it->second.mapped);
	state.device.erase(it);
	return OK;
}
API int cuMemHostAlloc(char **out, size_t size, unsigned) {
	BEGIN();
	Range r;
	char *base = mapped(size, &r);
	if (!base) return fail(OUT_OF_MEMORY, "no host memory");
	state.pinned[base] = r;
	*out = base;
	return OK;
}
API int cuMemFreeHost(char *p) {
	BEGIN();
	auto it = state.pinned.find(p);
	if (it == state.pinned.end()) return fail(INVALID_VALUE, "cuMemFreeHost of what was not allocated");
	munmap(it->second.mapping, it->second.mapped);
	state.pinned.erase(it);
	return OK;
}

// shared_mapping says whether p lies in a mapping that is shared, and writable.
static bool shared_mapping(const void *p, bool *writable) {
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	bool shared = false;
	while (maps && fgets(line, sizeof line, maps)) {
		unsigned long lo, hi;
		char mode[8];
		if (sscanf(line, "%lx-%lx %7s", &lo, &hi, mode) == 3 && (unsigned long)p >= lo && (unsigned long)p < hi) {
			shared = mode[3] == 's';
			*writable = mode[1] == 'w';
		}
	}
	if (maps) fclose(maps);
	return shared;
}
API int cuMemHostRegister_v2(char *p, size_t size, unsigned flags) {
	BEGIN();
	bool writable = false, shared = shared_mapping(p, &writable);
	if ((uintptr_t)p % 4096 || size % 4096) return fail(INVALID_VALUE, "cuMemHostRegister of part of a page");
	if (!shared && flags == 8) return fail(INVALID_VALUE, "cuMemHostRegister of a private mapping, read only: a real driver hangs");
	if (!writable && flags != 8) return fail(INVALID_VALUE, "cuMemHostRegister of a mapping that cannot be written to, without flag 8");
	for (auto &r : state.registered)
		if (p < r.first + r.second && r.first < p + size) return fail(712, "cuMemHostRegister: some of it is registered already");
	state.registered[p] = size;
	return OK;
}
API int cuMemHostUnregister(char *p) {
	BEGIN();
	auto it = state.registered.find(p);
	if (it == state.registered.end()) return fail(713, "cuMemHostUnregister of what is not registered");
	for (auto &s : state.streams)
		for (auto &op : s.first->ops)
			for (const void *u : op.uses)
				if (u >= p && u < p + it->second) return fail(INVALID_VALUE, "cuMemHostUnregister of memory that queued work uses");
	state.registered.erase(it);
	return OK;
}

static int copy(const char *call, const void *to, const void *from, size_t size, bool to_device, bool from_device, Stream *s) {
	if (int e = check_stream(s, call)) return e;
	if (size == 0) return fail(INVALID_VALUE, "%s of nothing", call);
	if (to_device ? !on_device(to, size) : !on_host(to, size)) return fail(INVALID_VALUE, "%s: %zu bytes of the destination are not one allocation's", call, size);
	if (from_device ? !on_device(from, size) : !on_host(from, size)) return fail(INVALID_VALUE, "%s: %zu bytes of the source are not one allocation's", call, size);
	Op op;
	op.name = call;
	op.uses = {to, from};
	op.run = [=] {
		memcpy((void *)to, from, size);
		state.step = 1e-6 + size / 50e9;
		return OK;
	};
	enqueue(s, op);
	return OK;
}
API int cuMemcpyHtoDAsync_v2(char *to, const void *from, size_t size, Stream *s) {
	BEGIN();
	return copy(__func__, to, from, size, true, false, s);
}
API int cuMemcpyDtoHAsync_v2(void *to, char *from, size_t size, Stream *s) {
	BEGIN();
	return copy(__func__, to, from, size, false, true, s);
}
API int cuMemcpyDtoDAsync_v2(char *to, char *from, size_t size, Stream *s) {
	BEGIN();
	return copy(__func__, to, from, size, true, true, s);
}
API int cuMemsetD8Async(char *to, unsigned char value, size_t size, Stream *s) {
	BEGIN();
	if (int e = check_stream(s, __func__)) return e;
	if (!on_device(to, size)) return fail(INVALID_VALUE, "cuMemsetD8Async: %zu bytes are not one allocation's", size);
	Op op;
	op.name = __func__;
	op.uses = {to};
	op.run = [=] {
		memset(to, value, size);
		return OK;
	};
	enqueue(s, op);
	return OK;
}

// ---- streams and events

int check_stream(Stream *s, const char *call) {
	if (!s) return fail(INVALID_HANDLE, "%s on the default stream, which orders everything", call);
	if (!state.streams.count(s)) return fail(INVALID_HANDLE, "%s: no such stream", call);
	return OK;
}
static int check_event(Event *e, const char *call) {
	return state.events.count(e) ? OK : fail(INVALID_HANDLE, "%s: no such event", call);
}

void enqueue(Stream *s, Op op) { s->ops.push_back(std::move(op)); }

static int run_until(Event *e, long version);

// run_one runs the first operation of a stream. While a planted hang lasts nothing
// more of its stream is done.
static int run_one(Stream *s) {
	if (state.sticky) return state.sticky;
	if (s->ops.front().wait)
		if (int e = run_until(s->ops.front().wait, s->ops.front().version)) return e;
	Op op = std::move(s->ops.front());
	s->ops.pop_front();
	state.step = 1e-6;
	if (op.run) {
		char name[64];
		if (sscanf(state.fault.c_str(), "hang %63s", name) == 1 && op.name == name) {
			s->ops.push_front(std::move(op));
			return NOT_READY;
		}
		if (int e = op.run()) {
			state.message = op.name + ": " + state.message;
			return state.sticky = e;
		}
		s->clock += state.step;
	}
	if (op.wait && op.wait->time > s->clock) s->clock = op.wait->time;
	if (op.record) op.record->done = op.version, op.record->time = s->clock;
	return OK;
}
static int run_until(Event *e, long version) {
	while (e->done < version)
		if (int s = run_one(e->stream)) return s;
	return OK;
}
static int run_stream(Stream *s) {
	while (!s->ops.empty())
		if (int e = run_one(s)) return e;
	return OK;
}

API int cuStreamCreate(Stream **out, unsigned flags) {
	BEGIN();
	if (flags != 1) return fail(INVALID_VALUE, "cuStreamCreate: a stream that the default stream orders hides faults: want flag 1");
	*out = new Stream;
	state.streams[*out] = 1;
	return OK;
}
API int cuStreamDestroy_v2(Stream *s) {
	BEGIN();
	if (int e = check_stream(s, __func__)) return e;
	if (int e = run_stream(s)) return e;
	state.streams.erase(s);
	delete s;
	return OK;
}
API int cuStreamSynchronize(Stream *s) {
	BEGIN();
	if (int e = check_stream(s, __func__)) return e;
	return run_stream(s);
}
API int cuStreamWaitEvent(Stream *s, Event *e, unsigned) {
	BEGIN();
	if (int x = check_stream(s, __func__)) return x;
	if (int x = check_event(e, __func__)) return x;
	if (e->recorded == 0) return fail(INVALID_VALUE, "cuStreamWaitEvent for an event that was never recorded orders nothing");
	Op op;
	op.name = __func__;
	op.wait = e;
	op.version = e->recorded;
	enqueue(s, op);
	return OK;
}
API int cuEventCreate(Event **out, unsigned) {
	BEGIN();
	*out = new Event;
	state.events[*out] = 1;
	return OK;
}
API int cuEventDestroy_v2(Event *e) {
	BEGIN();
	if (int x = check_event(e, __func__)) return x;
	state.events.erase(e); // the event itself stays for what is queued
	return OK;
}
API int cuEventRecord(Event *e, Stream *s) {
	BEGIN();
	if (int x = check_event(e, __func__)) return x;
	if (int x = check_stream(s, __func__)) return x;
	if (e->stream && e->stream != s && e->done < e->recorded) return fail(INVALID_VALUE, "cuEventRecord on another stream before the first has come to it");
	Op op;
	op.name = __func__;
	op.record = e;
	op.version = ++e->recorded;
	e->stream = s;
	enqueue(s, op);
	return OK;
}
API int cuEventQuery(Event *e) {
	BEGIN();
	if (int x = check_event(e, __func__)) return x;
	if (e->done >= e->recorded) return OK;
	if (++e->polls % 2) return NOT_READY; // polled once, nothing has happened yet
	return run_until(e, e->recorded);
}
API int cuEventElapsedTime(float *ms, Event *a, Event *b) {
	BEGIN();
	if (a->done < a->recorded || b->done < b->recorded) return NOT_READY;
	*ms = (b->time - a->time) * 1e3;
	return OK;
}

// ---- modules and launches

API int cuModuleLoadData(void **module, const char *image) {
	BEGIN();
	if (strncmp(image, "fake cubin\n", 11)) return fail(INVALID_SOURCE, "cuModuleLoadData of what is no cubin");
	std::string path = image + 11;
	void *handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
	if (!handle) return fail(INVALID_SOURCE, "%s", dlerror());
	bind_module(handle);
	*module = handle;
	return OK;
}
API int cuModuleUnload(void *) {
	BEGIN();
	return OK;
}
API int cuModuleGetFunction(void **function, void *module, const char *name) {
	BEGIN();
	*function = dlsym(module, (std::string("fake_kernel_") + name).c_str());
	return *function ? OK : fail(NOT_FOUND, "no kernel %s", name);
}
API int cuLaunchKernel(const FakeKernel *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
	unsigned shared, Stream *s, void **params, void **extra) {
	BEGIN();
	if (int e = check_stream(s, __func__)) return e;
	if (extra || shared) return fail(INVALID_VALUE, "cuLaunchKernel with extra parameters or dynamic shared memory");
	Launch l = {f, {gx, gy, gz}, {bx, by, bz}, {}};
	Op op;
	if (int e = copy_params(&l, params, &op)) return e;
	if (int e = check_launch(l)) return e;
	state.launches++;
	op.run = [=] { return run_launch(l); };
	enqueue(s, op);
	return OK;
}
