package model

import "math"

// Rope describes rotary position embeddings: pairs (j, j+Dim/2) of a head's
// first Dim columns are rotated by position times frequency j. Interleaved
// pairs are (2j, 2j+1).
type Rope struct {
	Theta       float64
	Dim         int // rotated columns of a head
	Interleaved bool
	Scaling     RopeScaling
}

// RopeScaling changes the frequencies. Kind is "" (none), "linear" or "llama3".
type RopeScaling struct {
	Kind             string
	Factor           float64
	LowFreq          float64 // llama3 only, as are the two below
	HighFreq         float64
	OriginalPosition int
}

// Frequencies returns the Dim/2 angular frequencies in radians per position,
// rounded to float32 as the reference implementation holds them.
func (r Rope) Frequencies() []float32 {
	fs := make([]float32, r.Dim/2)
	for j := range fs {
		f := math.Pow(r.Theta, -float64(2*j)/float64(r.Dim))
		fs[j] = float32(r.Scaling.apply(f))
	}
	return fs
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
