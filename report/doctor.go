package report

// Doctor is what a machine has, and what of it is used. Sizes are bytes; 0 and ""
// mean unknown.
type Doctor struct {
	Type        string        `json:"type"`
	OS          string        `json:"os"`
	Arch        string        `json:"arch"`
	Go          string        `json:"go"`
	CPU         CPU           `json:"cpu"`
	Cores       Cores         `json:"cores"`
	Memory      MachineMemory `json:"memory"`
	Disks       []Disk        `json:"disks"`
	Kernels     Kernels       `json:"kernels"`
	Environment []Variable    `json:"environment"`
}

// Typed implements Line.
func (l Doctor) Typed() any {
	l.Type, l.Disks, l.Environment = "doctor", list(l.Disks), list(l.Environment)
	l.CPU.Features, l.Kernels.Notes = list(l.CPU.Features), list(l.Kernels.Notes)
	return l
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

// MachineMemory is the machine's and the cgroup's.
type MachineMemory struct {
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
