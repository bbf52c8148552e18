package plot

import (
	"bytes"
	"errors"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func panels() []Panel {
	return []Panel{
		Profile{Title: "bi", Label: "bi", Scores: []float64{.5, math.NaN(), .1, .3}, First: []int{2}},
		Profile{Title: "flat", Label: "v", Scores: []float64{2, 2, 2}},
		Curve{Title: "loss", X: "cut", Y: "loss", Values: []float64{1, 2, math.Inf(1), 4}},
		Matrix{Title: "cka", Label: "depth", Values: [][]float64{{1, .5}, {.5, math.NaN()}}},
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.png", "a.svg"} {
		path := filepath.Join(dir, name)
		if err := Write(path, false, panels()...); err != nil {
			t.Fatal(err)
		}
		if err := Write(path, false, panels()...); !errors.Is(err, os.ErrExist) {
			t.Errorf("%s was replaced: %v", name, err)
		}
		if err := Write(path, true, panels()...); err != nil {
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

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name, path, want string
		panels           []Panel
	}{
		{"nothing", "a.png", "nothing to draw", nil},
		{"kind", "a.pdf", "want a name that ends in .png or .svg", panels()},
		{"no score", "a.png", "no layer has a score", []Panel{Profile{Title: "x", Scores: []float64{math.NaN()}}}},
		{"no value", "a.png", "there is no value", []Panel{Curve{Title: "x"}}},
		{"no matrix", "a.png", "there is no value", []Panel{Matrix{Title: "x"}}},
		{"no directory", "none/a.png", "none", panels()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Write(filepath.Join(dir, tt.path), false, tt.panels...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}
