package plot

import (
	"bytes"
	"errors"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const caption = "Model: pico · data: 10 x 128 tokens of text.txt, seed 42 · 2026-11-26"

func panels() []Panel {
	return []Panel{
		Profile{Title: "bi", Label: "bi", Scores: []float64{.5, math.NaN(), .1, .3}, First: []int{2}},
		Profile{Title: "flat", Label: "v", Scores: []float64{2, 2, 2}},
		Curve{Title: "loss", X: "cut", Y: "loss", Values: []float64{1, 2, math.Inf(1), 4}, Exp: true},
		Curve{Title: "acc", X: "cut", Y: "acc", Values: []float64{.8, .6, .3}, Errors: []float64{.1, math.NaN(), .1}, Chance: .25, Mark: 1, MarkText: "a quarter"},
		Matrix{Title: "cka", Label: "depth", Values: [][]float64{{1, .5}, {.5, math.NaN()}}},
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.png", "a.svg"} {
		path := filepath.Join(dir, name)
		if err := Write(path, false, caption, panels()...); err != nil {
			t.Fatal(err)
		}
		if err := Write(path, false, caption, panels()...); !errors.Is(err, os.ErrExist) {
			t.Errorf("%s was replaced: %v", name, err)
		}
		if err := Write(path, true, caption, panels()...); err != nil {
			t.Error(err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "a.png"))
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	black, grey := 0, 0
	for y := range picture.Bounds().Dy() {
		for x := range picture.Bounds().Dx() {
			r, g, b, _ := picture.At(x, y).RGBA()
			switch {
			case r != g || g != b:
				t.Fatalf("there is colour at %d, %d", x, y)
			case r == 0:
				black++
			case r < 0xf000:
				grey++
			}
		}
	}
	if black < 1000 || grey < 1000 {
		t.Errorf("%d black and %d grey pixels: nothing was drawn", black, grey)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}

// TestCellsMeet: no line of paper runs between cells of a matrix.
func TestCellsMeet(t *testing.T) {
	const size = 13 // too many for numbers in them
	values := slices.Repeat([][]float64{slices.Repeat([]float64{1}, size)}, size)
	values[0] = slices.Repeat([]float64{0}, size)
	values[3] = slices.Repeat([]float64{1 + 1e-15}, size)
	path := filepath.Join(t.TempDir(), "a.png")
	if err := Write(path, false, "", Matrix{Title: "cka", Values: values}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	wide, high := picture.Bounds().Dx(), picture.Bounds().Dy()
	dark := func(x, y int) bool { r, _, _, _ := picture.At(x, y).RGBA(); return r < 0x300 }
	across, up := 0, 0
	for y, run := 0, 0; y < high; y, run = y+1, 0 {
		for x := range wide {
			if run++; !dark(x, y) {
				run = 0
			}
			across = max(across, run)
		}
	}
	for y, run := 0, 0; y < high; y++ {
		if run++; !dark(wide/3, y) {
			run = 0
		}
		up = max(up, run)
	}
	if across < wide/2 || up < high/2 {
		t.Errorf("of %d x %d pixels %d beside and %d above each other are black", wide, high, across, up)
	}
}

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path, want string
		panels           []Panel
	}{
		{"nothing", "a.png", "nothing to draw", nil},
		{"kind", "a.pdf", "want a name that ends in .png or .svg", panels()},
		{"no score", "a.png", "no layer has a score", []Panel{Profile{Title: "x", Scores: []float64{math.NaN()}}}},
		{"no value", "a.png", "there is no value", []Panel{Curve{Title: "x"}}},
		{"no matrix", "a.png", "there is no value", []Panel{Matrix{Title: "x"}}},
		{"below a file", "file/a.png", "not a directory", panels()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Write(filepath.Join(dir, tt.path), false, caption, tt.panels...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// TestSheet: what a picture is of stands below it, many panels make a grid, and marks
// are named beside the data, not on them.
func TestSheet(t *testing.T) {
	for n, columns := range map[int]int{1: 1, 3: 1, 4: 2, 8: 2, 9: 3, 15: 3} {
		s := newSheet(caption, slices.Repeat(panels()[:1], n))
		if s.columns != columns || s.width/s.height > 3 || s.height/s.width > 2 {
			t.Errorf("%d panels: %d columns, %.0f x %.0f", n, s.columns, s.width, s.height)
		}
	}
	path := filepath.Join(t.TempDir(), "a.svg")
	if err := Write(path, false, caption, panels()...); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Model: pico", "seed 42", "2026-11-26", "first to drop", "guessing", "± one standard error", "a quarter", "sans-serif", "2 (7.39)"} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("no %q", want)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		exp    bool
		want   string
	}{
		{1.3, 4.4, false, "1.5 2 2.5 3 3.5 4"},
		{6.4, 8.6, true, "6.5 (665) 7 (1097) 7.5 (1808) 8 (2981) 8.5 (4915)"},
		{math.Copysign(1e-17, -1), 2, true, "0 (1) 0.5 (1.65) 1 (2.72) 1.5 (4.48) 2 (7.39)"},
		{.24, .31, false, "0.24 0.25 0.26 0.27 0.28 0.29 0.3 0.31"},
	} {
		ticks := decimal
		if c.exp {
			ticks = exponential
		}
		var got []string
		for _, tick := range ticks(c.lo, c.hi) {
			got = append(got, tick.label)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%v to %v: %v, want %s", c.lo, c.hi, got, c.want)
		}
	}
}

// TestWholeTicks: round numbers, as many as fit, and no more strokes than can be told
// apart.
func TestWholeTicks(t *testing.T) {
	for _, c := range []struct {
		lo, hi  float64
		strokes int
		want    string
	}{
		{-.5, 3.5, 4, "0 1 2 3"},
		{-.5, 31.5, 32, "0 2 4 6 8 10 12 14 16 18 20 22 24 26 28 30"},
		{-.5, 125.5, 32, "0 20 40 60 80 100 120"},
		{3, 2003, 50, "200 400 600 800 1000 1200 1400 1600 1800 2000"},
	} {
		var got []string
		ticks := whole(c.lo, c.hi)
		for _, tick := range ticks {
			if tick.label != "" {
				got = append(got, tick.label)
			}
		}
		if strings.Join(got, " ") != c.want || len(ticks) != c.strokes {
			t.Errorf("%v to %v: %v and %d strokes, want %s and %d", c.lo, c.hi, got, len(ticks), c.want, c.strokes)
		}
	}
}

// TestOneStep: a single step of training is a point.
func TestOneStep(t *testing.T) {
	p, err := Losses{Steps: []float64{1}, Training: []float64{4}}.draw()
	if err != nil {
		t.Fatal(err)
	}
	if p.legend[0].shape == nil {
		t.Error("a line is all there is")
	}
}

// TestRank: greys follow places, so that .97 and .98 differ beside a .1.
func TestRank(t *testing.T) {
	m := Matrix{Values: [][]float64{{1, .98}, {.97, .1}}}
	for i, want := range [][]float64{{1, 2. / 3}, {1. / 3, 0}} {
		for j, want := range want {
			if got := rank(m.Values[i][j], m.sorted()); got != want {
				t.Errorf("%v has place %v, want %v", m.Values[i][j], got, want)
			}
		}
	}
}
