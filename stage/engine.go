package stage

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/all"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/doctor"
	"github.com/coppice-ml/coppice/internal/nearest"
	"github.com/coppice-ml/coppice/report"
)

// Engine says how a model is run. The zero value is the default of everything.
type Engine struct {
	Device  string `yaml:"device"`  // one of Devices; "": auto
	DType   string `yaml:"dtype"`   // matrix inputs: auto, bfloat16 or float32; "": auto
	Threads int    `yaml:"threads"` // 0: one for each usable core
	Adapter string `yaml:"adapter"` // directory of a PEFT adapter that runs beside the weights; "": none
	Memory  string `yaml:"memory"`  // most the process may hold, such as 4GiB; "": DefaultMemory
	// DeviceMemory is the most that may be taken of a GPU's memory; "": what is free.
	DeviceMemory string `yaml:"device_memory"`
}

// Devices lists the values of Engine.Device.
func Devices() []string { return all.Devices() }

// Engines starts an engine. getenv is the environment's.
type Engines func(e Engine, getenv func(string) string) (engine.Engine, error)

// maxThreads keeps a typing error from ending the process: Go stops at 10000.
const maxThreads = 1024

// Check finds what can be wrong before any file is opened.
func (e Engine) Check() error {
	if !all.Known(e.Device) {
		return oneOf("device", e.Device, append(all.Devices(), "cuda:1")...)
	}
	if err := checkDType(e.DType); err != nil {
		return err
	}
	if e.Threads < 0 {
		return wrong("{threads} %d: want a positive number, or 0 for one a core", e.Threads)
	}
	if e.Threads > maxThreads {
		return wrong("{threads} %d: want at most %d", e.Threads, maxThreads).with("more threads than cores make nothing faster")
	}
	if err := checkBytes("memory", e.Memory); err != nil {
		return err
	}
	return checkBytes("device_memory", e.DeviceMemory)
}

// checkBytes checks a field that bounds memory, or is empty.
func checkBytes(field, value string) error {
	if value == "" {
		return nil
	}
	n, err := parseBytes(value)
	if err != nil {
		return wrong("{"+field+"}: %w", err)
	}
	if _, err := strconv.ParseFloat(value, 64); err == nil && n < 1<<20 {
		return wrong("{"+field+"} %s: %s bytes are less than any model takes", value, value).with("give it a unit: {"+field+"} %sGiB", value)
	}
	return nil
}

func checkDType(name string) error {
	switch dtype(name) {
	case "", "auto", "bfloat16", "float32":
		return nil
	case "float16", "fp16", "f16", "half":
		return wrong("{dtype} %q: want one of auto, bfloat16, float32", name).with("models in float16 are run too: pass {dtype} bfloat16, or float32 for every bit")
	}
	return oneOf("dtype", name, "auto", "bfloat16", "float32")
}

// dtype is a dtype's name, for the short ones that people give it too.
func dtype(name string) string {
	switch strings.ToLower(name) {
	case "bf16":
		return "bfloat16"
	case "fp32", "f32", "float":
		return "float32"
	}
	return name
}

// memory is the bound on the process in bytes; Check has seen the field.
func (e Engine) memory() int64 {
	if n, err := parseBytes(e.Memory); err == nil {
		return n
	}
	return DefaultMemory()
}

// deviceMemory is the bound on a GPU's memory in bytes, 0 for what is free.
func (e Engine) deviceMemory() int64 {
	n, _ := parseBytes(e.DeviceMemory)
	return n
}

// DefaultMemory is how much the process may hold where nobody says: 0.8 of what
// is free, or 0, which means no bound, where that is unknown.
func DefaultMemory() int64 { return doctor.DefaultMemory() }

// Resolve says what auto and what is not given come to on this machine.
func (e Engine) Resolve(env Env) (report.Compute, error) {
	if err := e.Check(); err != nil {
		return report.Compute{}, err
	}
	started, err := e.start(env)
	if err != nil {
		return report.Compute{}, err
	}
	i := started.Info()
	return report.Compute{Device: i.Device, DType: string(i.DType), Provider: i.Provider, Threads: i.Threads}, started.Close()
}

// Machine is the processor's name, "" where it is not known, and the most memory
// that the process has held.
func Machine() (cpu string, peak int64) {
	_, peak = doctor.Process()
	return doctor.CPUModel(), peak
}

// training is the engine for what trains or runs an adapter: where it is chosen by
// itself, one that can, which so far is the processor's.
func (e Engine) training() Engine {
	if e.Device == "" || e.Device == all.Auto {
		e.Device = "cpu"
	}
	return e
}

// Training is the engine that trains, and runs adapters, in this one's place: itself
// where it computes gradients, else the processor's.
func (e Engine) Training(env Env) Engine {
	e = e.training()
	started, err := e.start(env)
	if err != nil {
		return e
	}
	defer func() { _ = started.Close() }()
	if _, ok := started.(engine.Trainer); !ok {
		e.Device = "cpu"
	}
	return e
}

// start starts the engine.
func (e Engine) start(env Env) (engine.Engine, error) {
	open := env.Engines
	if open == nil {
		open = builtin
	}
	out, err := open(e, env.Getenv)
	var setting *engine.SettingError
	if errors.As(err, &setting) {
		meant := nearest.DidYouMean(setting.Value, setting.Known)
		return nil, wrong("start the engine: %w", err).with("%s", strings.TrimSpace(meant+" unset "+setting.Variable+" for the default"))
	}
	if err != nil {
		return nil, fmt.Errorf("start the engine: %w", err)
	}
	return out, nil
}

// builtin starts the engines of this build.
func builtin(e Engine, getenv func(string) string) (engine.Engine, error) {
	return all.Open(e.Device, all.Options{DType: dtype(e.DType), Threads: e.Threads, DeviceMemory: e.deviceMemory(), Cache: CacheDir(getenv), Getenv: getenv})
}

// bounded makes a Runner keep what is left of the process's memory, and Go's
// collector with it. What the process holds by now is part of the bound.
func bounded(opt forest.Options, memory int64) forest.Options {
	if memory == 0 {
		return opt
	}
	resident, _ := doctor.Process()
	opt.Memory, opt.Held = max(1, memory-resident), resident
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	held := int64(stats.Sys - stats.HeapReleased)
	opt.Heap = func(bytes int64) { debug.SetMemoryLimit(held + max(bytes, 64<<20)) }
	return opt
}

// parseBytes reads 4GiB, 512M, 1.5g or a number of bytes. Units are powers of
// 1024, those that end in B alone (4GB) of 1000.
func parseBytes(s string) (int64, error) {
	number := strings.TrimRight(strings.TrimSpace(s), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	unit := strings.ToLower(strings.TrimSpace(strings.TrimSpace(s)[len(number):]))
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	base := 1024.0
	if len(unit) == 2 && unit[1] == 'b' {
		base = 1000
	}
	power := map[string]float64{"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4}
	p, known := power[strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i")]
	v *= math.Pow(base, p)
	if err != nil || !known || !(v >= 1) || v > 1<<62 {
		return 0, fmt.Errorf("%q is not a size: want one such as 4GiB, 512MiB or 8GB", s)
	}
	return int64(v), nil
}

// oneOf checks a field that has a list of valid values.
func oneOf(field, value string, valid ...string) error {
	if slices.Contains(valid, value) {
		return nil
	}
	p := wrong("{"+field+"} %q: want one of %s", value, strings.Join(valid, ", "))
	if meant := nearest.DidYouMean(value, valid); meant != "" {
		return p.with("%s", meant)
	}
	return p
}
