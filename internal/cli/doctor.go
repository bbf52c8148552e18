package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/internal/doctor"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

func newDoctor(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this machine has and what Coppice uses of it",
		Long: `Show processor, cores, memory, disks, the kernels in use, and the environment
variables that change what Coppice does. COPPICE_ONEDNN is "off" for the Go
kernels, or the path of a oneDNN library to load; COPPICE_KERNELS is AMX, AVX512-BF16, AVX-512,
AVX2 or scalar, for kernels of Go below what the processor has, as
ONEDNN_MAX_CPU_ISA (AVX2, AVX512_CORE, AVX512_CORE_BF16) is for those of oneDNN,
which passes over words that it does not know: a note says so;
COPPICE_CUDA is the folder to look in for an NVIDIA GPU's libraries, instead of
where they mostly lie, and COPPICE_CUDA_CHECK=1 waits for each of its kernels, to
name one that fails; COPPICE_CACHE is where content hashes, what scores have
computed and GPU kernels are kept between runs.

Exits with 1 when the engine does not start.`,
		Example: `  coppice doctor
  coppice doctor --json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runDoctor(c, a) },
	}
	a.outputFlags(c)
	return c
}

func runDoctor(c *cobra.Command, a *app) error {
	r := doctor.Run(c.Context(), doctor.Options{CacheDir: stage.CacheDir(a.sys.Getenv), Getenv: os.LookupEnv})
	var err error
	if a.json {
		err = a.line(r)
	} else {
		err = printDoctor(a, r)
	}
	if err == nil && r.Kernels.Error != "" {
		hint := "set COPPICE_ONEDNN=off for the Go kernels, or unset it"
		variable, _, _ := strings.Cut(r.Kernels.Error, "=")
		switch {
		case strings.Contains(r.Kernels.Error, "device cuda"):
			hint = "other commands run with --device cpu"
		case variable == "COPPICE_KERNELS" || variable == "COPPICE_CUDA_CHECK":
			hint = "unset " + variable + ", or name one of these"
		}
		err = failed("the engine does not start: %s", r.Kernels.Error).withHint("%s", hint)
	}
	return err
}

func printDoctor(a *app, r report.Doctor) error {
	t := &report.Table{Header: []string{"", ""}}
	add := func(name, format string, args ...any) {
		t.Add(report.String(name), report.String(fmt.Sprintf(format, args...)))
	}
	add("system", "%s/%s, %s", r.OS, r.Arch, r.Go)
	add("processor", "%s (%s)", r.CPU.Model, strings.Join(r.CPU.Features, " "))
	add("cores", "%d used, %d in the affinity mask", r.Cores.Used, r.Cores.Affinity)
	add("memory", "%s, %s free, --memory defaults to %s", report.FormatBytes(r.Memory.Total), report.FormatBytes(r.Memory.Free), report.FormatBytes(r.Memory.Default))
	for _, d := range r.Disks {
		add("disk", "%s: %s, %s free", d.Purpose, d.Path, report.FormatBytes(d.Free))
	}
	if r.Kernels.Error == "" {
		add("matrix products", "%s, bfloat16: %s", r.Kernels.Provider, yesNo(r.Kernels.BFloat16))
		add("other kernels", "%s", r.Kernels.ElementWise)
	}
	for _, n := range r.Kernels.Notes {
		add("note", "%s", n)
	}
	for _, v := range r.Environment {
		value, err := json.Marshal(v.Value)
		if err != nil {
			return err
		}
		if !v.Set {
			value = []byte("not set")
		}
		add(v.Name, "%s", value)
	}
	return a.table(t)
}
