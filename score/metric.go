package score

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/internal/nearest"
)

// Direction says which end of the scores drops first.
type Direction string

// The two directions.
const (
	Lowest  Direction = "lowest"  // the layer with the lowest score drops first
	Highest Direction = "highest" // the layer with the highest score drops first
)

// Metric describes one way of scoring layers.
type Metric struct {
	Name      string
	Summary   string // one line: the formula and who proposed it
	Direction Direction
	NeedsData bool // it runs the model on sequences
	Removes   bool // it runs the model once for every layer left out; protected layers get no score
	Rounds    bool // it takes passes of its own, one after the other
	Gradients bool // it goes backwards through the model; Options.Batch is part of what it is

	from source
}

// Names of the metrics.
const (
	Reverse         = "reverse"
	ReverseKeepLast = "reverse-keep-last"
	Random          = "random"
	MagnitudeL1     = "magnitude-l1"
	MagnitudeL2     = "magnitude-l2"
	BI              = "bi"
	BIGlobal        = "bi-global"
	Relative        = "relative"
	Angular         = "angular"
	Taylor          = "taylor"
	TaylorL2        = "taylor-l2"
	CKA             = "cka"
	PPL             = "ppl"
	KL              = "kl"
	GreedyPPL       = "greedy-ppl"
)

// Metrics lists every metric, in the order a help text should: what it says of
// itself, and where its scores come from.
func Metrics() []Metric {
	return []Metric{
		{Name: Reverse, Direction: Highest, from: placed(reverse),
			Summary: "the layer's index: the last layer goes first (the paper's best simple choice)"},
		{Name: ReverseKeepLast, Direction: Highest, from: placed(reverseKeepLast),
			Summary: "reverse, but the final layer goes last of all (UIDL)"},
		{Name: Random, Direction: Lowest, from: placed(random),
			Summary: "place in a permutation drawn from the seed (baseline)"},
		{Name: MagnitudeL1, Direction: Lowest, from: weighed((*magnitudes).l1),
			Summary: "sum of |w| over the layer's projection and norm weights, biases excluded (the paper's code)"},
		{Name: MagnitudeL2, Direction: Lowest, from: weighed((*magnitudes).l2),
			Summary: "sum of w^2 over the same weights, no root (the paper's code)"},
		{Name: BI, Direction: Lowest, NeedsData: true, from: observed(newInfluence, (*influence).bi),
			Summary: "block influence: 1 - mean over tokens of cos(layer input, layer output) (ShortGPT)"},
		{Name: BIGlobal, Direction: Lowest, NeedsData: true, from: observed(newInfluence, (*influence).biGlobal),
			Summary: "1 - cos of the whole flattened input and output; the last layer is never scored and goes last (the paper's code, for reproduction only)"},
		{Name: Relative, Direction: Lowest, NeedsData: true, from: observed(newInfluence, (*influence).relative),
			Summary: "mean over tokens of |output - input| / |output| (relative magnitude)"},
		{Name: Angular, Direction: Lowest, NeedsData: true, from: blocks,
			Summary: "mean over sequences of arccos cos(state entering, state leaving) / pi of a block of layers, at the last token; the lowest block goes (UIDL)"},
		{Name: Taylor, Direction: Lowest, NeedsData: true, Gradients: true, from: salient(func(n norms) float64 { return n.l1 }),
			Summary: "sum over the layer's projection and norm weights of |s|, s the sum over batches of w * dloss/dw (the paper's code, Shortened-LLaMA)"},
		{Name: TaylorL2, Direction: Lowest, NeedsData: true, Gradients: true, from: salient(func(n norms) float64 { return n.l2 }),
			Summary: "sum of s^2 over the same weights, no root (the paper's code)"},
		{Name: CKA, Direction: Highest, NeedsData: true, from: compared(newCKA, ckaSettings, (*cka).matrix, readNeighbours),
			Summary: "linear CKA of the states entering and leaving the layer (the paper's appendix)"},
		{Name: PPL, Direction: Lowest, NeedsData: true, Removes: true, from: removed(wantLoss, perplexityWithout),
			Summary: "perplexity without the layer (Shortened-LLaMA)"},
		{Name: KL, Direction: Lowest, NeedsData: true, Removes: true, from: removed(wantDivergence, divergenceWithout),
			Summary: "KL divergence of the model's predictions without the layer from those with it, mean over tokens"},
		{Name: GreedyPPL, Direction: Lowest, NeedsData: true, Removes: true, Rounds: true, from: greedily,
			Summary: "the round in which the layer goes when each round drops the one that leaves the lowest perplexity (SLEB)"},
	}
}

// lookup finds metrics by name, each once.
func lookup(names []string) (metrics []Metric, err error) {
	if len(names) == 0 {
		return nil, fmt.Errorf("no metric is named")
	}
	for i, name := range names {
		metric, err := Lookup(name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("metric %q is named twice", name)
		}
		metrics = append(metrics, metric)
	}
	return metrics, nil
}

// Lookup finds a metric by name. An unknown name is an error that lists the
// valid ones, the most similar first.
func Lookup(name string) (Metric, error) {
	metrics := Metrics()
	for _, m := range metrics {
		if m.Name == name {
			return m, nil
		}
	}
	names := make([]string, len(metrics))
	for i, m := range metrics {
		names[i] = m.Name
	}
	names = nearest.Sorted(name, names)
	return Metric{}, fmt.Errorf("unknown metric %q; known metrics: %s", name, strings.Join(names, ", "))
}
