package cli

import (
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
)

func newVersion(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Example: `  coppice version
  coppice version --json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return runVersion(a) },
	}
	a.outputFlags(c)
	return c
}

func runVersion(a *app) error {
	v := version()
	if a.json {
		return a.line(v)
	}
	kernels := ""
	if v.SIMD {
		kernels = ", simd"
	}
	return a.printf("coppice %s (%s, %s/%s%s)\n", v.Version, v.Go, v.OS, v.Arch, kernels)
}

// version reads what the linker recorded.
func version() report.Version {
	v := report.Version{Version: "devel", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		case "GOEXPERIMENT":
			v.SIMD = strings.Contains(","+s.Value+",", ",simd,")
		}
	}
	return v
}
