package prune

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSelect(t *testing.T) {
	order := []int{5, 4, 3, 2, 1, 0}
	for _, tt := range []struct {
		name    string
		protect []int
		count   int
		want    []int
	}{
		{"the first ones", nil, 2, []int{4, 5}},
		{"none", nil, 0, nil},
		{"around protected ones", []int{4, 5}, 2, []int{2, 3}},
		{"protected ones that the order lacks", []int{9}, 1, []int{5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Select(order, tt.protect, tt.count)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for _, tt := range []struct {
		name  string
		count int
		want  string
	}{
		{"too many", 5, "cannot drop 5 layers: only 4 may go (2 protected)"},
		{"negative", -1, "cannot drop -1 layers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := Select(order, []int{0, 1}, tt.count); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v; want an error with %q", got, err, tt.want)
			}
		})
	}
}

func TestCountForRatio(t *testing.T) {
	for _, tt := range []struct {
		layers int
		ratio  float64
		want   int
	}{
		{26, .25, 6}, {32, .25, 8}, {26, .5, 13}, {100, .29, 29}, {100, .57, 57}, {10, .7, 7},
		{30, 1.0 / 3, 10}, {32, .999, 31}, {26, .0385, 1}, {3, .3334, 1}, {80, .1, 8},
	} {
		got, err := CountForRatio(tt.layers, tt.ratio)
		if err != nil || got != tt.want {
			t.Errorf("CountForRatio(%d, %v) = %d, %v; want %d", tt.layers, tt.ratio, got, err, tt.want)
		}
	}
	nan := 0.0
	nan /= nan
	for _, tt := range []struct {
		layers int
		ratio  float64
		want   string
	}{
		{32, 0, "between 0 and 1"}, {32, 1, "between 0 and 1"}, {32, -1, "between 0 and 1"}, {32, nan, "between 0 and 1"},
		{26, .03, "the smallest ratio that drops one is 0.0385"}, {32, .03, "is 0.0313"}, {1, .9, "none to spare"},
	} {
		got, err := CountForRatio(tt.layers, tt.ratio)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("CountForRatio(%d, %v) = %d, %v; want an error with %q", tt.layers, tt.ratio, got, err, tt.want)
		}
	}
}

// The ratio named as the smallest must itself drop one layer.
func TestSmallestRatioDropsOne(t *testing.T) {
	for layers := 2; layers <= 200; layers++ {
		_, err := CountForRatio(layers, 1e-6)
		_, smallest, _ := strings.Cut(err.Error(), "drops one is ")
		ratio, err := strconv.ParseFloat(smallest, 64)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := CountForRatio(layers, ratio); err != nil || n != 1 {
			t.Errorf("%d layers, ratio %v: %d, %v", layers, ratio, n, err)
		}
	}
}

func TestCountForParameters(t *testing.T) {
	spec := testSpec(t)
	all, layer := spec.Parameters(), spec.LayerParameters()
	for _, tt := range []struct {
		name   string
		target int64
		want   int
	}{
		{"one less", all - 1, 1}, {"one layer", all - layer, 1}, {"more than a layer", all - layer - 1, 2},
		{"one layer left", all - 7*layer, 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := CountForParameters(spec, tt.target)
			if err != nil || n != tt.want {
				t.Errorf("got %d, %v; want %d", n, err, tt.want)
			}
		})
	}
	for _, tt := range []struct {
		target int64
		want   string
	}{{all, "nothing would be dropped"}, {all - 7*layer - 1, "cannot be reached"}, {-1, "cannot be reached"}} {
		if n, err := CountForParameters(spec, tt.target); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("target %d: %d, %v; want an error with %q", tt.target, n, err, tt.want)
		}
	}
}

func TestParameters(t *testing.T) {
	for in, want := range map[string]int64{
		"6.3B": 6300000000, "135M": 135000000, "1235814400": 1235814400, "1.5k": 1500, " 0.7 b ": 700000000, "2T": 2e12, "8.03B": 8030000000,
	} {
		if got, err := ParseParameters(in); err != nil || got != want {
			t.Errorf("ParseParameters(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "B", "6,3B", "-1B", "0", "1e9", "6.3GB", "inf", "0x10", "9999999T", "1.2.3"} {
		if got, err := ParseParameters(in); err == nil {
			t.Errorf("ParseParameters(%q) = %d, want an error", in, got)
		}
	}
	for n, want := range map[int64]string{
		6738415616: "6.74B", 134515008: "135M", 999: "999", 1100048384: "1.10B", 70553706496: "70.6B", 0: "0",
	} {
		if got := FormatParameters(n); got != want {
			t.Errorf("FormatParameters(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestSchedule(t *testing.T) {
	for _, tt := range []struct {
		in     string
		want   Schedule
		rounds []int
	}{
		{"2:8", Schedule{2, 8}, []int{2, 2, 2, 2}}, {" 3 : 8 ", Schedule{3, 8}, []int{3, 3, 2}}, {"1:1", Schedule{1, 1}, []int{1}},
	} {
		got, err := ParseSchedule(tt.in)
		if err != nil || got != tt.want {
			t.Fatalf("ParseSchedule(%q) = %v, %v; want %v", tt.in, got, err, tt.want)
		}
		if diff := cmp.Diff(tt.rounds, got.Rounds()); diff != "" {
			t.Errorf("%q: rounds (-want +got):\n%s", tt.in, diff)
		}
	}
	for _, in := range []string{"", "8", "2:", ":8", "0:8", "9:8", "2:8:1", "a:b"} {
		if got, err := ParseSchedule(in); err == nil {
			t.Errorf("ParseSchedule(%q) = %v, want an error", in, got)
		}
	}
}
