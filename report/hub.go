package report

// Pulled says that files of a repository are complete in the hub's cache.
type Pulled struct {
	Type     string  `json:"type"`
	ID       string  `json:"id"`
	Kind     string  `json:"kind"`               // model or dataset
	Revision string  `json:"revision,omitempty"` // as asked for
	Commit   string  `json:"commit"`
	Path     string  `json:"path"`
	Files    int     `json:"files"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`
}

// Typed implements Line.
func (l Pulled) Typed() any { l.Type = "pulled"; return l }
