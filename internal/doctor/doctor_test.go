package doctor

import (
	"math"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func files(m map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, content := range m {
		out[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return out
}

func TestCgroupMemory(t *testing.T) {
	const gib = 1 << 30
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  usage
		ok    bool
	}{
		{"none", nil, usage{}, false},
		{"v2 without a limit", map[string]string{
			"proc/self/cgroup":             "0::/\n",
			"sys/fs/cgroup/memory.max":     "max\n",
			"sys/fs/cgroup/memory.current": "1\n",
		}, usage{}, false},
		{"v2, page cache is not used memory", map[string]string{
			"proc/self/cgroup":             "0::/\n",
			"sys/fs/cgroup/memory.max":     "4294967296\n",
			"sys/fs/cgroup/memory.current": "3221225472\n",
			"sys/fs/cgroup/memory.stat":    "anon 5\ninactive_file 2147483648\nactive_file 7\n",
		}, usage{4 * gib, gib}, true},
		{"v2, the tighter parent counts", map[string]string{
			"proc/self/cgroup":                     "0::/pod/box\n",
			"sys/fs/cgroup/pod/memory.max":         "2147483648\n",
			"sys/fs/cgroup/pod/memory.current":     "1073741824\n",
			"sys/fs/cgroup/pod/box/memory.max":     "8589934592\n",
			"sys/fs/cgroup/pod/box/memory.current": "1073741824\n",
		}, usage{2 * gib, gib}, true},
		{"v1, path of the host", map[string]string{
			"proc/self/cgroup":                           "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "536870912\n",
			"sys/fs/cgroup/memory/memory.stat":           "total_inactive_file 536870912\n",
		}, usage{gib, 0}, true},
		{"v1 without a limit", map[string]string{
			"proc/self/cgroup":                           "4:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, usage{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := cgroupMemory(files(tt.files))
			if got != tt.want || ok != tt.ok {
				t.Errorf("got %+v, %v; want %+v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestMemoryHonoursTheCgroup(t *testing.T) {
	m := memory(files(map[string]string{
		"proc/meminfo":                 "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:   8388608 kB\n",
		"proc/self/cgroup":             "0::/\n",
		"sys/fs/cgroup/memory.max":     "1000000000\n",
		"sys/fs/cgroup/memory.current": "0\n",
	}))
	if m.Total == 0 {
		t.Skip("this platform does not read /proc/meminfo")
	}
	want := Memory{Total: 16 << 30, Free: 1000000000, Limit: 1000000000, Default: 800000000}
	if m != want {
		t.Errorf("got %+v, want %+v", m, want)
	}
}

func TestCPUQuota(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  float64
	}{
		{"none", nil, 0},
		{"v2 max", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 0},
		{"v2", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "150000 100000\n"}, 1.5},
		{"v1", map[string]string{
			"proc/self/cgroup":                    "5:cpu,cpuacct:/\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":  "200000\n",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
		}, 2},
		{"v1 none", map[string]string{
			"proc/self/cgroup":                    "5:cpu:/\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":  "-1\n",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := cpuQuota(files(tt.files)); math.Abs(got-tt.want) > 1e-9 {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestRun(t *testing.T) {
	env := map[string]string{"COPPICE_ONEDNN": "off"}
	r := Run(t.Context(), Options{
		CacheDir: t.TempDir() + "/not/there/yet",
		Getenv:   func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	})
	if !strings.HasPrefix(r.Kernels.Provider, "Go (") || r.Kernels.Error != "" {
		t.Errorf("kernels = %+v, want Go's", r.Kernels)
	}
	if r.Cores.Used < 1 || r.Cores.Affinity < 1 {
		t.Errorf("cores = %+v", r.Cores)
	}
	if len(r.Disks) != 2 {
		t.Fatalf("disks = %+v", r.Disks)
	}
	for _, d := range r.Disks {
		if d.Free <= 0 || d.Total < d.Free {
			t.Errorf("disk %+v", d)
		}
	}
	oneDNN := slices.IndexFunc(r.Environment, func(v Variable) bool { return v.Name == "COPPICE_ONEDNN" })
	if oneDNN < 0 || r.Environment[oneDNN].Value != "off" || !r.Environment[oneDNN].Set {
		t.Errorf("environment = %+v", r.Environment)
	}
	if r.Memory.Default > r.Memory.Free || r.Memory.Free > r.Memory.Total {
		t.Errorf("memory = %+v", r.Memory)
	}
}

func TestRunNamesABrokenLibrary(t *testing.T) {
	env := map[string]string{"COPPICE_ONEDNN": "/does/not/exist.so"}
	r := Run(t.Context(), Options{Getenv: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
	if r.Kernels.Error == "" {
		t.Errorf("kernels = %+v, want an error", r.Kernels)
	}
}
