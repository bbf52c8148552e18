package report

// Model describes a checkpoint.
type Model struct {
	Type         string   `json:"type"`
	Path         string   `json:"path"`
	Architecture string   `json:"architecture"`
	Family       string   `json:"family"`
	Layers       int      `json:"layers"`
	Hidden       int      `json:"hidden"`
	Heads        int      `json:"heads"`
	KVHeads      int      `json:"kv_heads"`
	HeadDim      int      `json:"head_dim"`
	FeedForward  int      `json:"feed_forward"`
	Vocab        int      `json:"vocab"`
	MaxPositions int      `json:"max_positions"`
	Parameters   int64    `json:"parameters"`
	Bytes        int64    `json:"bytes"`
	DType        string   `json:"dtype"`
	Tied         bool     `json:"tied"`
	MACsPerToken int64    `json:"macs_per_token"`
	Hash         string   `json:"hash,omitempty"`    // with --deep
	Ignored      []string `json:"ignored,omitempty"` // tensors that are there and not read
	Problems     []string `json:"problems"`
}

// Typed implements Line.
func (l Model) Typed() any {
	l.Type, l.Problems = "model", list(l.Problems)
	return l
}

// Layer is the size of one layer.
type Layer struct {
	Type       string `json:"type"`
	Index      int    `json:"index"`
	Parameters int64  `json:"parameters"`
	Bytes      int64  `json:"bytes"`
}

// Typed implements Line.
func (l Layer) Typed() any { l.Type = "layer"; return l }

// File is one file of a checkpoint.
type File struct {
	Type  string `json:"type"`
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// Typed implements Line.
func (l File) Typed() any { l.Type = "file"; return l }

// Tokens are the ids of one text.
type Tokens struct {
	Type  string `json:"type"`
	Index int    `json:"index"`
	IDs   []int  `json:"ids"`
}

// Typed implements Line.
func (l Tokens) Typed() any { l.Type, l.IDs = "tokens", list(l.IDs); return l }

// Text is what a list of ids decodes to.
type Text struct {
	Type  string `json:"type"`
	Index int    `json:"index"`
	Text  string `json:"text"`
}

// Typed implements Line.
func (l Text) Typed() any { l.Type = "text"; return l }

// LogProbs scores the tokens of one sequence of T, each given those before it.
type LogProbs struct {
	Type     string   `json:"type"`
	Index    int      `json:"index"`
	LogProbs []Number `json:"logprobs"` // [T-1] natural logarithms
	Greedy   []bool   `json:"greedy"`   // [T-1] no other token was likelier
}

// Typed implements Line.
func (l LogProbs) Typed() any {
	l.Type, l.LogProbs, l.Greedy = "logprobs", list(l.LogProbs), list(l.Greedy)
	return l
}

// Compute says what made a number; it is part of every result a model run gives.
type Compute struct {
	Device   string `json:"device"`
	DType    string `json:"dtype"`
	Provider string `json:"provider"`
	Threads  int    `json:"threads"`
	Keep     []int  `json:"keep,omitempty"` // layers run, where not all of them
	// Adapter is the SHA-256 of the files of an adapter that ran beside the weights.
	Adapter string `json:"adapter,omitempty"`
	// Trained is the SHA-256 of the files of tensors that ran in the places of the model's.
	Trained string `json:"trained,omitempty"`
}

// Summary closes the lines of logprobs.
type Summary struct {
	Type       string  `json:"type"`
	Tokens     int     `json:"tokens"` // tokens that were scored
	Loss       Number  `json:"loss"`   // mean negative log-probability
	Perplexity Number  `json:"perplexity"`
	Greedy     Number  `json:"greedy"` // share of tokens that are the likeliest
	Data       *Data   `json:"data,omitempty"`
	Seconds    float64 `json:"seconds"`
	Compute
}

// Typed implements Line.
func (l Summary) Typed() any { l.Type = "summary"; return l }

// Perplexity is the result of ppl, with every choice that decides it.
type Perplexity struct {
	Type       string  `json:"type"`
	Tokens     int     `json:"tokens"` // tokens that were scored
	Loss       Number  `json:"loss"`
	Perplexity Number  `json:"perplexity"`
	Data       string  `json:"data"`
	Rows       int     `json:"rows"`
	Join       string  `json:"join"`
	BOS        bool    `json:"bos"` // one at the start of the text; with llama.cpp's convention, of every window
	Length     int     `json:"length"`
	Windows    int     `json:"windows"`
	Dropped    int     `json:"dropped"` // tokens of the remainder, left out
	Convention string  `json:"convention"`
	SHA256     string  `json:"sha256"` // of the windows' token ids, as --tokens-out of logprobs writes them
	Seconds    float64 `json:"seconds"`
	Compute
}

// Typed implements Line.
func (l Perplexity) Typed() any { l.Type = "perplexity"; return l }

// Generation is what a model made of one prompt; the prompt is not part of it.
type Generation struct {
	Type  string  `json:"type"`
	Index int     `json:"index"`
	IDs   []int32 `json:"ids"`
	Text  *string `json:"text"` // null without a tokenizer
	// Finish says why it ends: "eos_token", "stop_sequence" (--stop) or "length" (--max-tokens).
	Finish string `json:"finish"`
	Compute
}

// Typed implements Line.
func (l Generation) Typed() any { l.Type, l.IDs = "generation", list(l.IDs); return l }

// Ranking orders the layers of a model by one metric.
type Ranking struct {
	Type      string   `json:"type"`
	Metric    string   `json:"metric"`
	Direction string   `json:"direction"` // lowest or highest: which scores are dropped first
	Scores    []Number `json:"scores"`    // [L], null where undefined
	Order     []int    `json:"order"`     // first to drop … last
	Protected []int    `json:"protected"`
	Seed      uint64   `json:"seed"`
	Sequences int      `json:"sequences"` // that it was measured on
	Tokens    int      `json:"tokens"`
	Data      *Data    `json:"data,omitempty"`   // of metrics that run the model
	Matrix    Matrix   `json:"matrix,omitempty"` // cka: every two depths, [L+1][L+1]
	Batch     int      `json:"batch,omitempty"`  // taylor, taylor-l2: sequences of a gradient batch
	Losses    []Number `json:"losses,omitempty"` // greedy-ppl: mean loss after each round
	Seconds   float64  `json:"seconds,omitempty"`
	*Compute           // of metrics that run the model
}

// Typed implements Line.
func (l Ranking) Typed() any {
	l.Type, l.Scores, l.Order, l.Protected = "ranking", list(l.Scores), list(l.Order), list(l.Protected)
	return l
}

// Plan says what a pruning keeps and what it costs.
type Plan struct {
	Type             string `json:"type"`
	Layers           int    `json:"layers"` // of the original
	Keep             []int  `json:"keep"`
	Drop             []int  `json:"drop"`
	Parameters       int64  `json:"parameters"`
	ParametersBefore int64  `json:"parameters_before"`
	Bytes            int64  `json:"bytes"`
	BytesBefore      int64  `json:"bytes_before"`
	Source           string `json:"source"`
}

// Typed implements Line.
func (l Plan) Typed() any {
	l.Type, l.Keep, l.Drop = "plan", list(l.Keep), list(l.Drop)
	return l
}

// Written says that a checkpoint is complete.
type Written struct {
	Type    string  `json:"type"`
	Path    string  `json:"path"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

// Typed implements Line.
func (l Written) Typed() any { l.Type = "written"; return l }

// Bench is one measurement of speed beside the limit found in the same run.
type Bench struct {
	Type                 string `json:"type"`
	What                 string `json:"what"`
	Shape                string `json:"shape"`
	DType                string `json:"dtype"`
	Tokens               int    `json:"tokens"`
	TokensPerSecond      Number `json:"tokens_per_second"`
	GEMMGFLOPS           Number `json:"gemm_gflops"`
	LimitTokensPerSecond Number `json:"limit_tokens_per_second"`
	Ratio                Number `json:"ratio"`
	// LimitWay is how the products of the limit were computed: the fastest of
	// cutting them by rows or columns, with weights plain or packed.
	LimitWay string `json:"limit_way,omitempty"`
	Device   string `json:"device"`
	Provider string `json:"provider"`
	Threads  int    `json:"threads"`
	// Runs is how many pairs of measurement and limit were taken. Rates are their
	// medians, Ratio the median of limit time / measured time, Spread (slowest -
	// fastest) / median of the measured times.
	Runs   int    `json:"runs"`
	Spread Number `json:"spread"`
	// Prompts, of generating, is how many are answered together; then the limit is
	// answering them one at a time.
	Prompts int `json:"prompts,omitempty"`
	// Saved, of healing on given rows, is how many times more multiply-accumulates
	// there are when every row is computed.
	Saved Number `json:"saved,omitempty"`
	// Profile is what the workers' time went to, where it was asked for.
	Profile []Share `json:"profile,omitempty"`

	// Of what streams from disk: the peak of the process's memory, the bytes read,
	// passes over the weights, and the two times that the limit is the larger of.
	PeakBytes      int64   `json:"peak_bytes,omitempty"`
	ReadBytes      int64   `json:"read_bytes,omitempty"`
	Passes         int     `json:"passes,omitempty"`
	DiskSeconds    float64 `json:"disk_seconds,omitempty"`
	ProductSeconds float64 `json:"product_seconds,omitempty"`
}

// Share is a part of a whole, from 0 to 1.
type Share struct {
	Name  string `json:"name"`
	Share Number `json:"share"`
}

// Typed implements Line.
func (l Bench) Typed() any { l.Type = "bench"; return l }

// Version says which program this is.
type Version struct {
	Type     string `json:"type"`
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	SIMD     bool   `json:"simd"` // built with GOEXPERIMENT=simd
	Schema   int    `json:"schema"`
}

// Typed implements Line.
func (l Version) Typed() any { l.Type, l.Schema = "version", Schema; return l }

// Warning is something a result should be read with; it goes to stderr.
type Warning struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// Typed implements Line.
func (l Warning) Typed() any { l.Type = "warning"; return l }

// Note is what --verbose tells programs; it goes to stderr.
type Note struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// Typed implements Line.
func (l Note) Typed() any { l.Type = "note"; return l }

// Error ends a failed command; it goes to stderr.
type Error struct {
	Type    string `json:"type"`
	Code    int    `json:"code"` // the exit code
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

// Typed implements Line.
func (l Error) Typed() any { l.Type = "error"; return l }

// list turns nil into an empty list: a JSON reader never meets null.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
