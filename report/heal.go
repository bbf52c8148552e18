package report

// HealStep is an update of healing.
type HealStep struct {
	Type            string `json:"type"` // "step"
	Step            int    `json:"step"` // from 1
	Loss            Number `json:"loss"` // mean over the batch's targets, before the update
	LR              Number `json:"lr"`
	GradNorm        Number `json:"grad_norm"` // before clipping
	TokensPerSecond Number `json:"tokens_per_second"`
}

// Typed implements Line.
func (l HealStep) Typed() any { l.Type = "step"; return l }

// HealEval is the loss on the validation set after a step; step 0 is before the first.
type HealEval struct {
	Type string `json:"type"` // "eval"
	Step int    `json:"step"`
	Loss Number `json:"loss"`
	Best bool   `json:"best,omitempty"` // better than all before
}

// Typed implements Line.
func (l HealEval) Typed() any { l.Type = "eval"; return l }

// Healed is what healing came to.
type Healed struct {
	Type      string  `json:"type"` // "done"
	Path      string  `json:"path"`
	Base      string  `json:"base,omitempty"` // of an adapter whose base was never written: MODEL --drop L
	Method    string  `json:"method"`
	Steps     int     `json:"steps"`
	Kept      int     `json:"kept"` // the step whose values were written
	Trainable int64   `json:"trainable"`
	LossFirst *Number `json:"loss_first,omitempty"`   // validation loss before the first step,
	LossBest  *Number `json:"loss,omitempty"`         // of the values kept, in float32,
	LossSaved *Number `json:"loss_written,omitempty"` // and of the checkpoint as it was written
	Samples   int     `json:"samples"`
	HeldOut   int     `json:"held_out"`
	Skipped   int     `json:"skipped,omitempty"` // rows with nothing to learn in them
	Data      string  `json:"data"`
	SHA256    string  `json:"sha256"` // of samples and labels
	Seconds   float64 `json:"seconds"`
	Compute
}

// Typed implements Line.
func (l Healed) Typed() any { l.Type = "done"; return l }

// Generated is what answering a data set came to.
type Generated struct {
	Type        string  `json:"type"` // "generated"
	Path        string  `json:"path"`
	Rows        int     `json:"rows"`
	OutOfTokens int     `json:"out_of_tokens"`     // rows whose "finish" is "length"
	Skipped     int     `json:"skipped,omitempty"` // rows whose prompts leave no room for an answer
	Resumed     int     `json:"resumed,omitempty"` // rows that an earlier call had answered
	Tokens      int     `json:"tokens"`            // of all answers
	Seconds     float64 `json:"seconds"`
	Compute
}

// Typed implements Line.
func (l Generated) Typed() any { l.Type = "generated"; return l }

// Preview is a training sample, token by token.
type Preview struct {
	Type    string   `json:"type"` // "preview"
	Index   int      `json:"index"`
	Row     string   `json:"row"` // file and row that it was made of
	Tokens  int      `json:"tokens"`
	Targets int      `json:"targets"`       // tokens that are learnt
	Cut     bool     `json:"cut,omitempty"` // at the right, to the length of a sample
	IDs     []int32  `json:"ids"`
	Labels  []int32  `json:"labels"`           // the id where it is learnt, else -100
	Pieces  []string `json:"pieces,omitempty"` // the vocabulary's spelling of each
}

// Typed implements Line.
func (l Preview) Typed() any { l.Type = "preview"; return l }
