package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/doctor"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
)

// engineFlags choose how a model is run.
type engineFlags struct {
	device  string
	dtype   string
	threads int
	memory  string
}

func (f *engineFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.device, "device", "auto", "auto or cpu")
	c.Flags().StringVar(&f.dtype, "dtype", "auto", "matrix inputs: auto, bfloat16 or float32")
	c.Flags().IntVar(&f.threads, "threads", 0, "worker threads (default: one for each usable core)")
	c.Flags().StringVar(&f.memory, "memory", "", "most memory the process may hold, mapped files included, such as 4GiB: with less of it layers stream (default 0.8 of what is free)")
}

func engineFlagNames() []string { return []string{"device", "dtype", "threads", "memory"} }

// warnOfUnused names flags that were given and change nothing.
func warnOfUnused(a *app, why string, given func(flag string) bool, names ...string) {
	for _, name := range names {
		if given(name) {
			a.warn("--%s has no effect: %s", name, why)
		}
	}
}

// maxThreads keeps a typing error from ending the process: Go stops at 10000.
const maxThreads = 1024

// check finds what can be wrong before any file is opened.
func (f engineFlags) check() error {
	if f.device == "cuda" || strings.HasPrefix(f.device, "cuda:") {
		return usage("--device %s: this version has no CUDA engine yet", f.device).withHint("use --device cpu")
	}
	if err := oneOf("device", f.device, "auto", "cpu"); err != nil {
		return err
	}
	if err := oneOf("dtype", f.dtype, "auto", "bfloat16", "float32"); err != nil {
		return err
	}
	if f.threads < 0 {
		return usage("--threads %d: want a positive number, or 0 for one a core", f.threads)
	}
	if f.threads > maxThreads {
		return usage("--threads %d: want at most %d", f.threads, maxThreads).withHint("more threads than cores make nothing faster")
	}
	_, err := f.memoryBytes()
	return err
}

func (f engineFlags) memoryBytes() (int64, error) {
	if f.memory == "" {
		return 0, nil
	}
	n, err := parseBytes(f.memory)
	if err != nil {
		return 0, usage("--memory: %w", err)
	}
	return n, nil
}

// memoryOrDefault is the bound to keep; check has seen the flag.
func (f engineFlags) memoryOrDefault() int64 {
	if memory, _ := f.memoryBytes(); memory > 0 {
		return memory
	}
	return doctor.DefaultMemory()
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

// cacheDir is where content hashes are kept between runs: COPPICE_CACHE, or
// the user's cache directory; "" where there is none.
func cacheDir(getenv func(string) string) string {
	if dir := getenv("COPPICE_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "coppice")
}

// session is an open model and the engine that runs it.
type session struct {
	c    *checkpoint.Checkpoint
	m    *model.Model
	e    engine.Engine
	run  *forest.Runner
	keep []int // of a pruning; nil: the whole model

	memory   int64                   // bound on the process; 0: none
	progress func(done, total int64) // of passes; may be nil
}

// isDir refuses a MODEL that is not there, before anything else is tried.
func isDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return failed("%s: there is no such directory", dir).withHint("check the path; a model of the hub is named org/name[@revision]")
	case err != nil:
		return err
	case !info.IsDir():
		return failed("%s is a file", dir).withHint("name the directory that holds config.json")
	}
	return nil
}

// openModel opens a checkpoint and checks every tensor's place and shape.
func openModel(dir string) (*session, error) {
	if err := isDir(dir); err != nil {
		return nil, err
	}
	c, err := checkpoint.Open(dir)
	if err != nil {
		return nil, err
	}
	m, err := model.OpenLayout(c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &session{c: c, m: m}, nil
}

// warnOfFiles says what is odd about the model and no reason not to use it.
func (s *session) warnOfFiles(a *app) {
	for _, w := range s.c.Warnings() {
		a.warn("%v", w)
	}
	for _, w := range s.m.Warnings {
		a.warn("%s: %s", s.c.Dir(), w)
	}
}

// start starts the engine. The progress function may be nil.
func (s *session) start(a *app, f engineFlags, progress func(done, total int64)) error {
	if err := s.m.Spec.Runnable(); err != nil {
		return fmt.Errorf("%s/config.json: %w", s.c.Dir(), err)
	}
	s.warnOfFiles(a)
	e, err := newEngine(a, f)
	if err != nil {
		return err
	}
	s.e, s.progress = e, progress
	memory := f.memoryOrDefault()
	s.memory = memory
	info := e.Info()
	a.detail("engine: %s, %s by %s, %s, memory %s", info.Device, info.DType, info.Provider, plural(info.Threads, "thread"), report.FormatBytes(memory))
	for _, n := range info.Notes {
		a.detail("engine: %s", n)
	}
	s.run = forest.New(s.m, e, bounded(forest.Options{}, memory))
	return nil
}

// bounded makes a Runner keep what is left of the process's memory, and Go's
// collector with it. What the process holds by now is part of the bound.
func bounded(opt forest.Options, memory int64) forest.Options {
	if memory == 0 {
		return opt
	}
	resident, _ := doctor.Process()
	opt.Memory = max(1, memory-resident)
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	held := int64(stats.Sys - stats.HeapReleased)
	opt.Heap = func(bytes int64) { debug.SetMemoryLimit(held + max(bytes, 64<<20)) }
	return opt
}

func newEngine(a *app, f engineFlags) (engine.Engine, error) {
	e, err := cpu.New(cpu.Options{DType: f.dtype, Threads: f.threads, OneDNN: a.sys.Getenv("COPPICE_ONEDNN")})
	if err != nil {
		return nil, fmt.Errorf("start the engine: %w", err)
	}
	return e, nil
}

func (s *session) close() {
	if s.run != nil {
		s.run.Close()
	}
	if s.e != nil {
		_ = s.e.Close()
	}
	_ = s.c.Close()
}

// compute says what made a result.
func (s *session) compute() report.Compute {
	i := s.e.Info()
	return report.Compute{Device: i.Device, DType: string(i.DType), Provider: i.Provider, Threads: i.Threads, Keep: s.keep}
}
