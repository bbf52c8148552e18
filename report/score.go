package report

// Blocks scores every contiguous block of a number of layers.
type Blocks struct {
	Type      string   `json:"type"`
	Metric    string   `json:"metric"`
	Direction string   `json:"direction"`
	Block     int      `json:"block"`  // layers in a block
	Scores    []Number `json:"scores"` // [L-block+1], of the block that starts at each layer
	Best      int      `json:"best"`   // start of the block to drop; -1 where every one holds a protected layer
	Order     []int    `json:"order"`  // the layers of that block
	Protected []int    `json:"protected"`
	Matrix    Matrix   `json:"matrix,omitempty"` // distance between every two depths, [L+1][L+1]
	Sequences int      `json:"sequences"`
	Tokens    int      `json:"tokens"`
	Data      *Data    `json:"data,omitempty"`
	Seconds   float64  `json:"seconds,omitempty"`
	*Compute
}

// Typed implements Line.
func (l Blocks) Typed() any {
	l.Type, l.Scores, l.Order, l.Protected = "blocks", list(l.Scores), list(l.Order), list(l.Protected)
	return l
}

// Matrix is a square of numbers, row by row.
type Matrix [][]Number

// Floats converts rows back; nil stays nil.
func (m Matrix) Floats() (rows [][]float64) {
	for _, row := range m {
		rows = append(rows, Floats(row))
	}
	return rows
}

// NewMatrix converts rows; nil stays nil.
func NewMatrix(rows [][]float64) Matrix {
	var m Matrix
	for _, row := range rows {
		m = append(m, Numbers(row))
	}
	return m
}

// Curve is what is lost as more and more layers are cut.
type Curve struct {
	Type       string      `json:"type"`
	Metric     string      `json:"metric"`          // that the order comes from
	Order      []int       `json:"order"`           // first cut … last; empty for blocks, which are not nested
	Dropped    [][]int     `json:"dropped"`         // the layers cut for each n
	Loss       []Number    `json:"loss"`            // [n] mean negative log-probability with n layers cut, from 0 on
	Perplexity []Number    `json:"perplexity"`      // [n]
	Tasks      []TaskCurve `json:"tasks,omitempty"` // in place of loss and perplexity, with --tasks
	Sequences  int         `json:"sequences"`
	Tokens     int         `json:"tokens"`
	Data       *Data       `json:"data,omitempty"`
	Seconds    float64     `json:"seconds,omitempty"`
	Compute
}

// TaskCurve is a metric of a task, or of a group, for each number of layers cut.
type TaskCurve struct {
	Task           string   `json:"task"`
	Metric         string   `json:"metric"`
	Filter         string   `json:"filter"`
	Values         []Number `json:"values"` // [n]
	StdErr         []Number `json:"stderr"` // [n] null where there is none
	N              int      `json:"n"`      // documents asked
	Version        string   `json:"version"`
	Group          bool     `json:"group"`
	HigherIsBetter bool     `json:"higher_is_better"`
	Partial        bool     `json:"partial"` // not all documents of the published split

	Members []string `json:"-"`                // of a group
	Chance  float64  `json:"chance,omitempty"` // what guessing among the choices comes to; 0: not known
}

// Typed implements Line.
func (l Curve) Typed() any {
	l.Type, l.Order, l.Dropped = "curve", list(l.Order), list(l.Dropped)
	l.Loss, l.Perplexity = list(l.Loss), list(l.Perplexity)
	return l
}

// Variant is one of several prunings side by side.
type Variant struct {
	Type         string  `json:"type"`
	Plan         string  `json:"plan"` // file it comes from; "" for the whole model
	Drop         []int   `json:"drop"`
	Loss         Number  `json:"loss"`
	Perplexity   Number  `json:"perplexity"`
	Tokens       int     `json:"tokens"` // that were scored
	Data         *Data   `json:"data,omitempty"`
	Parameters   int64   `json:"parameters"`
	MACsPerToken int64   `json:"macs_per_token"`
	Seconds      float64 `json:"seconds,omitempty"` // of all variants together
	Compute
}

// Typed implements Line.
func (l Variant) Typed() any { l.Type, l.Drop = "variant", list(l.Drop); return l }
