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

// Pushed says that a commit holds what was pushed.
type Pushed struct {
	Type     string  `json:"type"`
	ID       string  `json:"id"`
	URL      string  `json:"url"`
	Commit   string  `json:"commit"`
	Created  bool    `json:"created"` // the repository is new
	Private  bool    `json:"private"`
	Uploaded int     `json:"uploaded"` // files that were sent
	Skipped  int     `json:"skipped"`  // files that were there already
	Bytes    int64   `json:"bytes"`    // of the files that were sent
	Seconds  float64 `json:"seconds"`
}

// Typed implements Line.
func (l Pushed) Typed() any { l.Type = "pushed"; return l }

// Card is the model card that a push would send.
type Card struct {
	Type    string `json:"type"`
	ID      string `json:"id"`
	Private bool   `json:"private"`
	Text    string `json:"text"`
}

// Typed implements Line.
func (l Card) Typed() any { l.Type = "card"; return l }
