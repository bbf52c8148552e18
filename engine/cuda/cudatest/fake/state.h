// What the parts of the fake share. One lock guards all of it.
//
// Work is queued on streams and runs only when something asks for its result, and
// no more of it than that needs: the latest order that CUDA allows.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

enum Status {
	OK = 0,
	INVALID_VALUE = 1,
	OUT_OF_MEMORY = 2,
	NOT_INITIALIZED = 3,
	NO_DEVICE = 100,
	INVALID_CONTEXT = 201,
	ECC_UNCORRECTABLE = 214,
	INVALID_SOURCE = 300,
	INVALID_HANDLE = 400,
	NOT_FOUND = 500,
	NOT_READY = 600,
	ILLEGAL_ADDRESS = 700,
	LAUNCH_FAILED = 719,
};

struct Stream;
struct Event {
	Stream *stream = nullptr;
	long recorded = 0, done = 0; // versions
	double time = 0;             // of the last that is done
	int polls = 0;
};
struct Op {
	std::function<int()> run; // or one of the two below
	Event *record = nullptr, *wait = nullptr;
	long version = 0;
	std::string name;
	std::vector<const void *> uses; // memory that it reads or writes
};
struct Stream {
	std::deque<Op> ops;
	double clock = 0; // seconds of made-up time
};

struct Range {
	size_t size;   // asked for
	char *mapping; // of whole pages with a guard page on either side
	size_t mapped;
};

struct State {
	std::recursive_mutex lock;
	bool ready = false;
	int sticky = OK; // an asynchronous error: every later call gets it
	std::string message;
	std::map<const char *, Range> device, pinned;
	std::map<const char *, size_t> registered;
	std::map<Stream *, int> streams;
	std::map<Event *, int> events;
	size_t memory = (size_t)8 << 30, used = 0;
	int major = 9, minor = 0, devices = 1, driver = 13000;
	long allocations = 0, launches = 0;
	uint64_t seed = 1;
	std::string fault; // planted, see fake_plant
	double step = 0;   // made-up seconds that the op that runs takes
};
extern State state;

// fail notes why a call fails and returns its status.
int fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
// begin is what every call of the driver starts with: planted faults, an earlier
// asynchronous error, the calling thread's context.
int begin(const char *call, bool context = true);
// find returns the allocation that holds p, or null.
const Range *find(const std::map<const char *, Range> &in, const void *p, const char **base);
// on_device checks that bytes from p on lie in one allocation of the device.
bool on_device(const void *p, size_t bytes);
int check_stream(Stream *s, const char *call);
void enqueue(Stream *s, Op op);
int run_all();
uint64_t randomly();

// launch runs a kernel; see launch.cc.
struct FakeKernel;
struct Launch {
	const FakeKernel *kernel;
	unsigned grid[3], block[3];
	std::vector<std::vector<char>> params;
};
int copy_params(Launch *l, void **params, Op *op);
int check_launch(const Launch &l);
int run_launch(const Launch &l);
void bind_module(void *handle);
