package prune

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseLayers(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []int
	}{
		{"3", []int{3}},
		{"3,7,24-31", []int{3, 7, 24, 25, 26, 27, 28, 29, 30, 31}},
		{" 7 , 3 ", []int{3, 7}},
		{"2 - 4", []int{2, 3, 4}},
		{"5-5", []int{5}},
		{"31,0", []int{0, 31}},
		{"007", []int{7}},
	} {
		got, err := ParseLayers(tt.in, 32)
		if err != nil {
			t.Errorf("ParseLayers(%q): %v", tt.in, err)
		} else if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("ParseLayers(%q) (-want +got):\n%s", tt.in, diff)
		}
	}
}

func TestParseLayersRejects(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", `"" is not a layer`},
		{"trailing comma", "3,", `"" is not a layer`},
		{"word", "all", `"all" is not a layer`},
		{"negative", "-1", `"-1" is not a layer`},
		{"sign", "+1", `"+1" is not a layer`},
		{"open range", "3-", `"3-" is not a layer`},
		{"three ends", "1-2-3", `"1-2-3" is not a layer`},
		{"out of range", "32", "layer 32 does not exist: the last layer is 31"},
		{"range out of range", "30-99999999999999999999", "layer 99999999999999999999 does not exist: the last layer is 31"},
		{"backwards", "7-3", `range "7-3" runs backwards: write 3-7 (the last layer is 31)`},
		{"twice", "3,3", "layer 3 is named twice (the last layer is 31)"},
		{"twice by range", "0-4,4-6", "layer 4 is named twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseLayers(tt.in, 32)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ParseLayers(%q) = %v, %v; want an error with %q", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestFormatLayers(t *testing.T) {
	for _, tt := range []struct {
		in   []int
		want string
	}{
		{nil, ""}, {[]int{4}, "4"}, {[]int{4, 5}, "4-5"}, {[]int{0, 1, 2, 5, 7, 8, 9, 10}, "0-2,5,7-10"},
	} {
		if got := FormatLayers(tt.in); got != tt.want {
			t.Errorf("FormatLayers(%v) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzParseLayers(f *testing.F) {
	for _, s := range []string{"3,7,24-31", " 1 - 2 ", "", "0-31", "9-", "--"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ParseLayers(s, 32)
		if err != nil {
			return
		}
		if err := checkLayers(list, 32); err != nil || len(list) == 0 || !slices.IsSorted(list) {
			t.Fatalf("ParseLayers(%q) = %v: %v", s, list, err)
		}
		again, err := ParseLayers(FormatLayers(list), 32)
		if err != nil || !slices.Equal(again, list) {
			t.Fatalf("%v is written as %q, which reads as %v, %v", list, FormatLayers(list), again, err)
		}
	})
}
