package doctor

import "os"

// Process is what this process holds of memory, mapped pages of files
// included, and the most it ever held, in bytes; 0 where that is unknown.
func Process() (resident, peak int64) {
	status := fields(os.DirFS("/"), "proc/self/status", ":")
	return kilobytes(status["VmRSS"]), kilobytes(status["VmHWM"])
}
