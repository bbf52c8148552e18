package doctor

import (
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// The files below exist on Linux only; elsewhere reading them finds nothing.
// root is "/" as a file system, so that tests can bring their own.

// procMemory reads /proc/meminfo.
func procMemory(root fs.FS) Memory {
	kib := fields(root, "proc/meminfo", ":")
	return Memory{Total: kilobytes(kib["MemTotal"]), Free: kilobytes(kib["MemAvailable"])}
}

func kilobytes(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(s, " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return n * 1024
}

// usage is a cgroup's memory in bytes: its limit, and what it holds that the
// kernel would not drop when asked for more.
type usage struct{ limit, used int64 }

func (u usage) free() int64 { return u.limit - u.used }

// cgroupMemory returns the tightest of the limits on this process's cgroup and
// the cgroups above it.
func cgroupMemory(root fs.FS) (tightest usage, ok bool) {
	consider := func(dir, limit, used, inactive string) {
		u := usage{limit: number(root, path.Join(dir, limit)), used: number(root, path.Join(dir, used))}
		// Version 1 spells "no limit" as a huge number.
		if u.limit <= 0 || u.limit > math.MaxInt64/2 {
			return
		}
		n, _ := strconv.ParseInt(fields(root, path.Join(dir, "memory.stat"), " ")[inactive], 10, 64)
		u.used = max(0, u.used-n)
		if !ok || u.free() < tightest.free() {
			tightest, ok = u, true
		}
	}
	for _, dir := range cgroupDirs(root, "") {
		consider(dir, "memory.max", "memory.current", "inactive_file")
	}
	for _, dir := range cgroupDirs(root, "memory") {
		consider(dir, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
	}
	return tightest, ok
}

// cpuQuota returns the tightest limit on processor time in cores, 0 without one.
func cpuQuota(root fs.FS) float64 {
	quota := math.Inf(1)
	for _, dir := range cgroupDirs(root, "") {
		f := strings.Fields(text(root, path.Join(dir, "cpu.max")))
		if len(f) == 2 {
			quota = min(quota, cores(f[0], f[1]))
		}
	}
	for _, dir := range cgroupDirs(root, "cpu") {
		quota = min(quota, cores(text(root, path.Join(dir, "cpu.cfs_quota_us")), text(root, path.Join(dir, "cpu.cfs_period_us"))))
	}
	if math.IsInf(quota, 1) {
		return 0
	}
	return quota
}

func cores(quota, period string) float64 {
	q, err1 := strconv.ParseFloat(quota, 64)
	p, err2 := strconv.ParseFloat(period, 64)
	if err1 != nil || err2 != nil || q <= 0 || p <= 0 {
		return math.Inf(1)
	}
	return q / p
}

// cgroupDirs lists this process's directory in a hierarchy and those above it,
// up to the mount point. Controller is "" for version 2. Inside a container
// the path may be the host's, of which only the upper part exists here.
func cgroupDirs(root fs.FS, controller string) []string {
	var dirs []string
	for line := range strings.Lines(text(root, "proc/self/cgroup")) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 || !hasController(part[1], controller) {
			continue
		}
		mount := "sys/fs/cgroup"
		if controller != "" {
			mount = path.Join(mount, controller)
		}
		for dir := path.Clean("/" + part[2]); ; dir = path.Dir(dir) {
			dirs = append(dirs, path.Join(mount, dir))
			if dir == "/" {
				break
			}
		}
	}
	return dirs
}

func hasController(list, want string) bool {
	if want == "" {
		return list == ""
	}
	for c := range strings.SplitSeq(list, ",") {
		if c == want {
			return true
		}
	}
	return false
}

// procModel reads the processor's name.
func procModel(root fs.FS) string { return fields(root, "proc/cpuinfo", ":")["model name"] }

// fields reads lines of a key, a separator and a value; the first of equal keys counts.
func fields(root fs.FS, name, sep string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text(root, name)) {
		key, value, ok := strings.Cut(line, sep)
		key = strings.TrimSpace(key)
		if _, seen := out[key]; ok && !seen {
			out[key] = strings.TrimSpace(value)
		}
	}
	return out
}

func text(root fs.FS, name string) string {
	raw, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// number reads a file that holds one integer; 0 when it does not.
func number(root fs.FS, name string) int64 {
	n, err := strconv.ParseInt(text(root, name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
