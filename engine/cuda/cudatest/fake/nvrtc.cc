// NVRTC: the host's compiler makes a library of the program, whose path is the
// "cubin".
#include "state.h"

#include <cstdlib>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

#ifndef FAKE_COMPILER
#error "FAKE_COMPILER, FAKE_INCLUDE: what compiles kernels, and the folder of fake.h"
#endif

struct Program {
	std::string source, log, cubin;
	std::map<std::string, std::string> headers;
};
static const int COMPILATION = 6, INPUT = 3;

API int nvrtcVersion(int *major, int *minor) {
	*major = 13, *minor = 0;
	return OK;
}
API const char *nvrtcGetErrorString(int status) { return status == COMPILATION ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_INVALID_INPUT"; }
API int nvrtcCreateProgram(Program **out, const char *source, const char *, int count, const char **headers, const char **names) {
	Program *p = new Program;
	p->source = source;
	for (int i = 0; i < count; i++) p->headers[names[i]] = headers[i];
	*out = p;
	return OK;
}
API int nvrtcDestroyProgram(Program **p) {
	delete *p;
	*p = nullptr;
	return OK;
}

static void write(const std::string &path, const std::string &text) {
	if (FILE *f = fopen(path.c_str(), "w")) {
		fwrite(text.data(), 1, text.size(), f);
		fclose(f);
	}
}

API int nvrtcCompileProgram(Program *p, int count, const char **options) {
	std::lock_guard<std::recursive_mutex> hold(state.lock);
	std::string defines, arch = "--gpu-architecture=sm_" + std::to_string(state.major * 10 + state.minor);
	bool right_arch = false, no_contraction = false;
	for (int i = 0; i < count; i++) {
		std::string o = options[i];
		right_arch |= o == arch;
		no_contraction |= o == "--fmad=false";
		if (o.compare(0, 2, "-D") == 0) defines += " " + o;
	}
	if (!right_arch || !no_contraction) {
		p->log = "want " + arch + " and --fmad=false";
		return INPUT;
	}
	char folder[] = FAKE_INCLUDE "/kernels-XXXXXX"; // beside this library and the cache that names it
	if (!mkdtemp(folder)) return INPUT;
	std::string in = folder;
	for (auto &h : p->headers) write(in + "/" + h.first, h.second);
	write(in + "/program.cc", p->source);
	std::string command = std::string(FAKE_COMPILER) + " -shared -fPIC -std=gnu++17 -O2 -march=native -ffp-contract=off -Wall -Wextra -Werror -Wno-unused-function -I" FAKE_INCLUDE " -I" + in + defines +
		" -o " + in + "/kernels.so " + in + "/program.cc 2>&1";
	FILE *run = popen(command.c_str(), "r");
	if (!run) return INPUT;
	char line[512];
	while (fgets(line, sizeof line, run)) p->log += line;
	if (pclose(run)) return COMPILATION;
	p->cubin = "fake cubin\n" + in + "/kernels.so";
	return OK;
}
API int nvrtcGetCUBINSize(Program *p, size_t *size) {
	*size = p->cubin.size() + 1;
	return OK;
}
API int nvrtcGetCUBIN(Program *p, char *out) {
	memcpy(out, p->cubin.c_str(), p->cubin.size() + 1);
	return OK;
}
API int nvrtcGetProgramLogSize(Program *p, size_t *size) {
	*size = p->log.size() + 1;
	return OK;
}
API int nvrtcGetProgramLog(Program *p, char *out) {
	memcpy(out, p->log.c_str(), p->log.size() + 1);
	return OK;
}
