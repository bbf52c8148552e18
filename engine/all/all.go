// Package all lists the engines of this build: the one place that names them.
// Commands, benches, the doctor and tests open engines through it, and learn from
// it which devices there are and which variables of the environment engines read.
//
// A new engine is one line of the table here. How it computes belongs in its own
// package, what is asked of it in those that use package engine.
package all

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/cuda"
)

// Auto is the device that chooses among the others: an NVIDIA GPU where one is
// found, else the host's processor.
const Auto = "auto"

// Options are those that every engine has.
type Options struct {
	DType   string // matrix inputs: "auto", also "", "bfloat16" or "float32"
	Threads int    // workers on the host; 0: one for each usable core
	// DeviceMemory bounds the bytes that an engine with memory of its own takes of
	// it; 0: what is free.
	DeviceMemory int64
	// Cache is a folder for what can be computed again; "": none.
	Cache string
	// Getenv reads the environment, of which engines have variables; nil: it is empty.
	Getenv func(string) string
}

// entry is an engine: its device, and how it is started.
type entry struct {
	device string
	// numbered devices are told apart by what follows a colon: "cuda:1".
	numbered bool
	open     func(number int, o Options) (engine.Engine, error)
	// absent, if set, says of an error of open that the machine has no such device:
	// Auto goes on to the next.
	absent error
	// variables are those of the environment that change what it does.
	variables []Variable
}

// Variable is a variable of the environment that an engine reads.
type Variable struct{ Name, Meaning string }

// table lists the engines in the order in which Auto tries them.
func table() []entry {
	return []entry{
		{device: "cuda", numbered: true, open: openCUDA, absent: cuda.ErrNoGPU, variables: []Variable{
			{"COPPICE_CUDA", `folder with libcuda.so.1, libcublasLt.so and libnvrtc.so, looked in instead of everywhere`},
			{"COPPICE_CUDA_CHECK", "1 waits for every kernel on a GPU, to name the one that fails"},
		}},
		{device: "cpu", open: openCPU, variables: []Variable{
			{"COPPICE_ONEDNN", `library to load for matrix products; "off" selects the kernels written in Go`},
			{"COPPICE_KERNELS", "AMX, AVX512-BF16, AVX-512, AVX2 or scalar: kernels written in Go below what the processor has"},
			{"ONEDNN_MAX_CPU_ISA", "AVX2, AVX512_CORE or AVX512_CORE_BF16: oneDNN's own, for kernels below what the processor has"},
		}},
	}
}

func openCUDA(number int, o Options) (engine.Engine, error) {
	return cuda.New(cuda.Options{Device: number, DType: o.DType, Memory: o.DeviceMemory, Cache: o.Cache, Getenv: o.Getenv})
}

func openCPU(_ int, o Options) (engine.Engine, error) {
	return cpu.New(cpu.Options{DType: o.DType, Threads: o.Threads, OneDNN: o.Getenv("COPPICE_ONEDNN"), OneDNNLevel: o.Getenv("ONEDNN_MAX_CPU_ISA"), Kernels: o.Getenv("COPPICE_KERNELS")})
}

// Devices lists the values that Open takes, Auto first; Known takes more, numbered ones.
func Devices() []string {
	out := []string{Auto}
	for _, e := range table() {
		out = append(out, e.device)
	}
	return out
}

// Known says whether Open knows a device of that name, numbered ones among them,
// whether or not the machine has it.
func Known(device string) bool {
	_, _, ok := find(device)
	return ok || device == Auto || device == ""
}

// find is the engine of a device, and its number.
func find(device string) (entry, int, bool) {
	name, suffix, numbered := strings.Cut(device, ":")
	number, err := 0, error(nil)
	if numbered {
		number, err = strconv.Atoi(suffix)
	}
	for _, e := range table() {
		if e.device == name && (!numbered || e.numbered && err == nil && number >= 0) {
			return e, number, true
		}
	}
	return entry{}, 0, false
}

// Variables lists what engines read of the environment.
func Variables() (out []Variable) {
	for _, e := range table() {
		out = append(out, e.variables...)
	}
	return out
}

// Open starts the engine of a device, "" being Auto. It fails for a device that
// this build does not know or the machine does not have, and for options that the
// engine does not take. Auto passes over engines whose device is not there, and over
// no other failure: a GPU that is there and cannot be used is an error.
func Open(device string, o Options) (engine.Engine, error) {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if device != Auto && device != "" {
		e, number, ok := find(device)
		if !ok {
			return nil, fmt.Errorf("device %q does not exist; choose from %s", device, strings.Join(Devices(), ", "))
		}
		return e.open(number, o)
	}
	for _, e := range table() {
		out, err := e.open(0, o)
		if err == nil || e.absent == nil || !errors.Is(err, e.absent) {
			return out, explain(e.device, err)
		}
	}
	return nil, errors.New("no engine starts")
}

// explain says what to do about a device that Auto chose and that fails.
func explain(device string, err error) error {
	var setting *engine.SettingError
	if err == nil || device == "cpu" || errors.As(err, &setting) {
		return err
	}
	return fmt.Errorf("%w (device %s was chosen because it is there; device cpu does without)", err, device)
}
