package doctor

import (
	"context"
	"io/fs"
	"os"
	"runtime"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/all"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/resident"
)

// Options say where to look.
type Options struct {
	// Device, DType and Threads are what the engine would be started with.
	Device  string
	DType   string
	Threads int
	// CacheDir is where Coppice caches; "" when it has no cache.
	CacheDir string
	// Getenv reads an environment variable; nil means os.LookupEnv.
	Getenv func(name string) (value string, set bool)
}

// What is found is report's.
type (
	Report   = report.Doctor
	CPU      = report.CPU
	Cores    = report.Cores
	Memory   = report.MachineMemory
	Disk     = report.Disk
	Kernels  = report.Kernels
	Variable = report.Variable
)

// Run looks at the machine. It does not fail: what cannot be found out is left
// empty, and an engine that does not start is an error inside the report.
func Run(_ context.Context, opt Options) Report {
	if opt.Getenv == nil {
		opt.Getenv = os.LookupEnv
	}
	root := os.DirFS("/")
	quota := cpuQuota(root)
	return Report{
		OS:          runtime.GOOS,
		Arch:        runtime.GOARCH,
		Go:          runtime.Version(),
		CPU:         CPU{Model: cpuModel(root), Features: cpuFeatures()},
		Cores:       Cores{Affinity: runtime.NumCPU(), Quota: quota, Used: runtime.GOMAXPROCS(0)},
		Memory:      memory(root),
		Disks:       disks(opt.CacheDir),
		Kernels:     kernels(opt),
		Environment: environment(opt.Getenv),
	}
}

// CPUModel is the processor's name, "" where it is not known.
func CPUModel() string { return cpuModel(os.DirFS("/")) }

// DefaultMemory is resident's default for what is free here; 0, which
// means unbounded, where that is unknown.
func DefaultMemory() int64 { return memory(os.DirFS("/")).Default }

func memory(root fs.FS) Memory {
	m := machineMemory(root)
	if c, ok := cgroupMemory(root); ok && (m.Total == 0 || c.limit < m.Total) {
		m.Limit = c.limit
		m.Free = min(m.Free, max(0, c.limit-c.used))
	}
	m.Default = resident.DefaultMemory(m.Free)
	return m
}

func kernels(opt Options) Kernels {
	getenv := func(name string) string { value, _ := opt.Getenv(name); return value }
	o := all.Options{DType: opt.DType, Threads: opt.Threads, Cache: opt.CacheDir, Getenv: getenv}
	e, err := all.Open(opt.Device, o)
	if err != nil {
		return Kernels{Error: err.Error(), Notes: []string{}}
	}
	defer func() { _ = e.Close() }()
	d := diagnosis(e)
	if opt.Device == "" || opt.Device == all.Auto {
		d.Notes = append(d.Notes, noGPU(e, o)...)
	}
	return Kernels{
		Provider:    d.Provider,
		BFloat16:    d.BFloat16,
		RowTile:     d.Rows,
		ElementWise: d.Kernels,
		Notes:       append([]string{}, d.Notes...),
	}
}

// noGPU says why there is none, where the processor was chosen: what was looked for.
func noGPU(e engine.Engine, o all.Options) []string {
	if e.Info().Device != "cpu" {
		return nil
	}
	gpu, err := all.Open("cuda", o)
	if err != nil {
		return []string{err.Error()}
	}
	_ = gpu.Close() // it has come since
	return nil
}

// diagnosis is what an engine says of itself, less where it says no more than Info.
func diagnosis(e engine.Engine) engine.Diagnosis {
	if d, ok := e.(engine.Diagnosed); ok {
		return d.Diagnosis()
	}
	info := e.Info()
	return engine.Diagnosis{Provider: info.Provider, BFloat16: info.DType == engine.BFloat16, Notes: info.Notes}
}

// environment lists the variables that are read, each with its meaning.
func environment(getenv func(string) (string, bool)) []Variable {
	var vs []Variable
	for _, v := range all.Variables() {
		vs = append(vs, Variable{Name: v.Name, Meaning: v.Meaning})
	}
	vs = append(vs, []Variable{
		{Name: "COPPICE_CACHE", Meaning: "directory for cached content hashes (default: coppice in the user's cache directory)"},
		{Name: "GOMAXPROCS", Meaning: "default of --threads"},
	}...)
	for i := range vs {
		vs[i].Value, vs[i].Set = getenv(vs[i].Name)
	}
	return vs
}

// disks reports on the working directory and the cache.
func disks(cache string) []Disk {
	var ds []Disk
	if wd, err := os.Getwd(); err == nil {
		ds = append(ds, disk("working directory", wd))
	}
	if cache != "" {
		ds = append(ds, disk("cache", cache))
	}
	return ds
}
