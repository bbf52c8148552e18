// Package all lists the engines of this build: the one place that names them.
// Commands, benches, the doctor and tests open engines through it, and learn from
// it which devices there are and which variables of the environment engines read.
//
// A new engine is one line of the table here. How it computes belongs in its own
// package, what is asked of it in those that use package engine.
package all

import (
	"fmt"
	"strings"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
)

// Auto is the device that chooses among the others.
const Auto = "auto"

// Options are those that every engine has.
type Options struct {
	DType   string // matrix inputs: "auto", also "", "bfloat16" or "float32"
	Threads int    // workers on the host; 0: one for each usable core
	// Getenv reads the environment, of which engines have variables; nil: it is empty.
	Getenv func(string) string
}

// entry is an engine: its device, and how it is started.
type entry struct {
	device string
	open   func(Options) (engine.Engine, error)
	// variables are those of the environment that change what it does.
	variables []Variable
}

// Variable is a variable of the environment that an engine reads.
type Variable struct{ Name, Meaning string }

// table lists the engines. Auto is the first.
func table() []entry {
	return []entry{
		{device: "cpu", open: openCPU, variables: []Variable{
			{"COPPICE_ONEDNN", `library to load for matrix products; "off" selects the kernels written in Go`},
			{"COPPICE_KERNELS", "AVX-512, AVX2 or scalar: kernels written in Go below what the processor has"},
			{"ONEDNN_MAX_CPU_ISA", "AVX2, AVX512_CORE or AVX512_CORE_BF16: oneDNN's own, for kernels below what the processor has"},
		}},
	}
}

func openCPU(o Options) (engine.Engine, error) {
	return cpu.New(cpu.Options{DType: o.DType, Threads: o.Threads, OneDNN: o.Getenv("COPPICE_ONEDNN"), Kernels: o.Getenv("COPPICE_KERNELS")})
}

// Devices lists the values that Open takes, Auto first.
func Devices() []string {
	out := []string{Auto}
	for _, e := range table() {
		out = append(out, e.device)
	}
	return out
}

// Variables lists what engines read of the environment.
func Variables() (out []Variable) {
	for _, e := range table() {
		out = append(out, e.variables...)
	}
	return out
}

// Open starts the engine of a device, "" being Auto. It fails for a device that
// this build does not have, and for options that the engine does not take.
func Open(device string, o Options) (engine.Engine, error) {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	for _, e := range table() {
		if device == e.device || device == Auto || device == "" {
			return e.open(o)
		}
	}
	return nil, fmt.Errorf("device %q does not exist; choose from %s", device, strings.Join(Devices(), ", "))
}
