package model

import "math"

// Rope describes rotary position embeddings: pairs (j, j+Dim/2) of a head's
// first Dim columns are rotated by position times frequency j, the rest is left
// alone. Interleaved pairs are (2j, 2j+1). The zero Rope rotates nothing.
type Rope struct {
	Theta       float64
	Dim         int // rotated columns of a head
	Interleaved bool
	Scaling     RopeScaling
}

// RopeScaling changes the frequencies. Kind is "" (none), "linear", "llama3",
// "yarn", "dynamic" or "longrope". The last two depend on how long a sequence is,
// see [Rope.Choice].
type RopeScaling struct {
	Kind             string
	Factor           float64
	OriginalPosition int     // all but linear: positions before scaling
	LowFreq          float64 // llama3 only, as the one below
	HighFreq         float64
	FastBeta         float64      // yarn only, as the two below: rotations in OriginalPosition that are many
	SlowBeta         float64      // and few
	Fractional       bool         // the ramp between them is not widened to whole pairs
	Attention        float64      // yarn and longrope: multiplies cosines and sines
	Lists            *RopeFactors // longrope only
}

// RopeFactors divide the frequencies of longrope, one a pair: Short those of
// sequences up to the original length, Long those of longer ones.
type RopeFactors struct{ Short, Long []float64 }

// Choice says which frequencies a sequence of length tokens gets, from root to
// leaf: 0 those of every sequence up to the original length. longrope has one
// other choice, dynamic one for every longer length, and all other kinds none.
func (r Rope) Choice(length int) int {
	switch {
	case length <= r.Scaling.OriginalPosition:
	case r.Scaling.Kind == "longrope":
		return 1
	case r.Scaling.Kind == "dynamic":
		return length
	}
	return 0
}

// Restarts says whether a sequence that grows from one length to another has to
// be computed anew, keys of its first tokens included: longrope's has, past its
// original length. With dynamic scaling tokens keep what they were given.
func (r Rope) Restarts(from, to int) bool {
	return r.Scaling.Kind == "longrope" && r.Choice(from) != r.Choice(to)
}

// Magnitude multiplies cosines and sines.
func (r Rope) Magnitude() float64 {
	if r.Scaling.Attention == 0 {
		return 1
	}
	return r.Scaling.Attention
}

// Frequencies returns the Dim/2 angular frequencies in radians per position of a
// choice, rounded to float32 as the reference implementation holds them
// (transformers' modeling_rope_utils.py).
func (r Rope) Frequencies(choice int) []float32 {
	fs := make([]float32, r.Dim/2)
	theta := r.Theta
	if r.Scaling.Kind == "dynamic" && choice > 0 {
		theta *= math.Pow(r.Scaling.Factor*float64(choice)/float64(r.Scaling.OriginalPosition)-(r.Scaling.Factor-1), float64(r.Dim)/float64(r.Dim-2))
	}
	for j := range fs {
		f := math.Pow(theta, -float64(2*j)/float64(r.Dim))
		switch r.Scaling.Kind {
		case "yarn":
			f = r.yarn(f, j)
		case "longrope":
			f /= r.Scaling.Lists.of(choice)[j]
		default:
			f = r.Scaling.apply(f)
		}
		fs[j] = float32(f)
	}
	return fs
}

func (l *RopeFactors) of(choice int) []float64 {
	if choice > 0 {
		return l.Long
	}
	return l.Short
}

// yarn blends pair j's frequency with the same divided by Factor: pairs that turn
// more than FastBeta times in the original length keep theirs, those that turn
// less than SlowBeta times get the other (Peng et al. 2023, eq. 13 to 17).
func (r Rope) yarn(f float64, j int) float64 {
	s := r.Scaling
	pair := func(rotations float64) float64 {
		return float64(r.Dim) * math.Log(float64(s.OriginalPosition)/(rotations*2*math.Pi)) / (2 * math.Log(r.Theta))
	}
	low, high := pair(s.FastBeta), pair(s.SlowBeta)
	if !s.Fractional {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(r.Dim-1))
	if low == high {
		high += 0.001
	}
	ramp := min(max((float64(j)-low)/(high-low), 0), 1)
	return f/s.Factor*ramp + f*(1-ramp)
}

// apply scales one frequency. llama3: wavelengths shorter than
// OriginalPosition/HighFreq are kept, those longer than OriginalPosition/LowFreq
// divided by Factor, the ones between interpolated (Llama 3.1 release notes and
// transformers' modeling_rope_utils).
func (s RopeScaling) apply(f float64) float64 {
	switch s.Kind {
	case "linear":
		return f / s.Factor
	case "llama3":
		wavelength := 2 * math.Pi / f
		original := float64(s.OriginalPosition)
		if wavelength < original/s.HighFreq {
			return f
		}
		if wavelength > original/s.LowFreq {
			return f / s.Factor
		}
		t := (original/wavelength - s.LowFreq) / (s.HighFreq - s.LowFreq)
		return (1-t)*f/s.Factor + t*f
	}
	return f
}
