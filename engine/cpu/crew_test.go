package cpu

import (
	"maps"
	"slices"
	"testing"
	"time"
)

// speeds is how long a call takes each number of workers.
type speeds map[int]time.Duration

func (s speeds) least() time.Duration { return slices.Min(slices.Collect(maps.Values(s))) }

// run makes calls of a kind as a crew says, and returns how long they take.
func (s speeds) run(c *crew, kind, calls int) (took time.Duration) {
	for range calls {
		d := s[c.workers()]
		c.note(kind, d)
		took += d
	}
	return took
}

// TestCrew: the fastest number of workers makes nearly all calls, whatever it is, and again
// when another becomes the fastest; looking for it costs little.
func TestCrew(t *testing.T) {
	quiet := speeds{16: 100, 8: 180, 4: 350, 2: 690, 1: 1380}
	for name, s := range map[string]speeds{
		"a core a worker":       quiet,
		"two cores":             {16: 900, 8: 900, 4: 800, 2: 300, 1: 550},
		"more do not help":      {16: 400, 8: 400, 4: 390, 2: 395, 1: 400},
		"others have the cores": {16: 5000, 8: 4000, 4: 3000, 2: 2000, 1: 1380},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrew(16)
			const calls = 20000
			for _, now := range []speeds{s, quiet, s} {
				now.run(c, 1, calls)
				if took, best := now.run(c, 1, calls), calls*now.least(); took > best*115/100 {
					t.Errorf("%d calls took %v, the best take %v", calls, took, best)
				}
			}
		})
	}
}

// TestCrewKinds: calls of different kinds in turns are not compared with each other.
func TestCrewKinds(t *testing.T) {
	c := newCrew(4)
	few, many := speeds{4: 100, 2: 180, 1: 350}, speeds{4: 1000, 2: 1800, 1: 3500}
	var took time.Duration
	const turns, calls = 500, 40
	for range turns {
		took += few.run(c, 1, calls) + many.run(c, 2, calls)
	}
	if best := turns * calls * (few.least() + many.least()); took > best*105/100 {
		t.Errorf("calls took %v, the best take %v", took, best)
	}
}

// TestCrewOfOne: there is nothing to choose.
func TestCrewOfOne(t *testing.T) {
	c := newCrew(1)
	if (speeds{1: 100}).run(c, 1, 1000); c.workers() != 1 {
		t.Errorf("%d workers", c.workers())
	}
}
