package report

// Data says what a model was run on, so that anybody can run it on the same.
type Data struct {
	Source  string  `json:"source"`            // the file, or a data set: id@commit:config/split
	Field   string  `json:"field,omitempty"`   // column that holds the text
	Windows string  `json:"windows,omitempty"` // joined: all rows joined and cut up; else drawn from documents
	Dropped int     `json:"dropped,omitempty"` // joined: tokens of the remainder
	Samples int     `json:"samples,omitempty"` // windows drawn; absent for --tokens
	Length  int     `json:"length,omitempty"`  // tokens in each, BOS included
	Seed    *uint64 `json:"seed,omitempty"`    // that decided which
	BOS     bool    `json:"bos"`               // each window begins with one that was added
	SHA256  string  `json:"sha256"`            // of the token ids, as --tokens-out writes them
}
