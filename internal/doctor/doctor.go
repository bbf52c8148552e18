package doctor

import (
	"context"
	"io/fs"
	"os"
	"runtime"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/all"
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

// Report is what was found. Sizes are bytes; 0 and "" mean unknown.
type Report struct {
	OS          string     `json:"os"`
	Arch        string     `json:"arch"`
	Go          string     `json:"go"`
	CPU         CPU        `json:"cpu"`
	Cores       Cores      `json:"cores"`
	Memory      Memory     `json:"memory"`
	Disks       []Disk     `json:"disks"`
	Kernels     Kernels    `json:"kernels"`
	Environment []Variable `json:"environment"`
}

// CPU is the processor.
type CPU struct {
	Model    string   `json:"model"`
	Features []string `json:"features"` // those that matrix kernels choose by
}

// Cores says how many cores work may use.
type Cores struct {
	Affinity int     `json:"affinity"` // cores this process may run on
	Quota    float64 `json:"quota"`    // the cgroup's limit in cores; 0 without one
	Used     int     `json:"used"`     // the default of --threads
}

// Memory is the machine's and the cgroup's.
type Memory struct {
	Total   int64 `json:"total"`
	Free    int64 `json:"free"`    // to this process, the cgroup's limit considered
	Limit   int64 `json:"limit"`   // the cgroup's; 0 without one
	Default int64 `json:"default"` // of --memory; 0 means unbounded
}

// Disk is the file system that holds a directory.
type Disk struct {
	Purpose string `json:"purpose"`
	Path    string `json:"path"`
	Free    int64  `json:"free"` // to this user
	Total   int64  `json:"total"`
}

// Kernels is who computes, as the engine describes itself.
type Kernels struct {
	Provider    string   `json:"provider"`     // of matrix products, e.g. "oneDNN 2.6.3 (AVX2)" or "Go (AVX-512)"
	BFloat16    bool     `json:"bfloat16"`     // it multiplies bfloat16, which --dtype auto then picks
	RowTile     int      `json:"row_tile"`     // rows are cut at multiples of so many
	ElementWise string   `json:"element_wise"` // what computes everything else
	Notes       []string `json:"notes"`
	Error       string   `json:"error,omitempty"` // why the engine does not start
}

// Variable is an environment variable that Coppice reads.
type Variable struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Set     bool   `json:"set"`
	Meaning string `json:"meaning"`
}

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

// DefaultMemory is the default of --memory: 0.8 of what is free; 0, which
// means unbounded, where that is unknown.
func DefaultMemory() int64 { return memory(os.DirFS("/")).Default }

func memory(root fs.FS) Memory {
	m := machineMemory(root)
	if c, ok := cgroupMemory(root); ok && (m.Total == 0 || c.limit < m.Total) {
		m.Limit = c.limit
		m.Free = min(m.Free, max(0, c.limit-c.used))
	}
	m.Default = m.Free / 10 * 8
	return m
}

func kernels(opt Options) Kernels {
	getenv := func(name string) string { value, _ := opt.Getenv(name); return value }
	e, err := all.Open(opt.Device, all.Options{DType: opt.DType, Threads: opt.Threads, Getenv: getenv})
	if err != nil {
		return Kernels{Error: err.Error(), Notes: []string{}}
	}
	defer func() { _ = e.Close() }()
	d := diagnosis(e)
	return Kernels{
		Provider:    d.Provider,
		BFloat16:    d.BFloat16,
		RowTile:     d.Rows,
		ElementWise: d.Kernels,
		Notes:       append([]string{}, d.Notes...),
	}
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
