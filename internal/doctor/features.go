package doctor

import (
	"runtime"

	"golang.org/x/sys/cpu"
)

// cpuFeatures lists the instruction sets that matrix kernels choose by.
func cpuFeatures() []string {
	type feature struct {
		name string
		has  bool
	}
	var all []feature
	switch runtime.GOARCH {
	case "amd64":
		all = []feature{
			{"avx", cpu.X86.HasAVX},
			{"avx2", cpu.X86.HasAVX2},
			{"fma", cpu.X86.HasFMA},
			{"avx512f", cpu.X86.HasAVX512F},
			{"avx512bw", cpu.X86.HasAVX512BW},
			{"avx512vl", cpu.X86.HasAVX512VL},
			{"avx512vnni", cpu.X86.HasAVX512VNNI},
			{"avx512bf16", cpu.X86.HasAVX512BF16},
			{"amx-tile", cpu.X86.HasAMXTile},
			{"amx-bf16", cpu.X86.HasAMXBF16},
		}
	case "arm64":
		all = []feature{
			{"asimd", cpu.ARM64.HasASIMD},
			{"asimdhp", cpu.ARM64.HasASIMDHP},
			{"asimddp", cpu.ARM64.HasASIMDDP},
			{"i8mm", cpu.ARM64.HasI8MM},
			{"sve", cpu.ARM64.HasSVE},
			{"sve2", cpu.ARM64.HasSVE2},
		}
	}
	names := []string{}
	for _, f := range all {
		if f.has {
			names = append(names, f.name)
		}
	}
	return names
}
