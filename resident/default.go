package resident

// DefaultMemory is the bound on the process's memory where nobody names one, given how
// much of the machine's is free: 0.8 of that. 0, where it is unknown, means no bound.
func DefaultMemory(free int64) int64 { return free / 10 * 8 }
