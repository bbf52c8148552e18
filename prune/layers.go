package prune

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/internal/layerlist"
)

// ParseLayers reads a list of layers such as "3,7,24-31" for a model of the
// given number of layers: 0-based, ranges inclusive on both ends, spaces allowed
// around numbers. The result is ascending. A layer that does not exist, one
// named twice, a range that runs backwards and anything that is not a number are
// errors that name the value and the last layer.
func ParseLayers(s string, layers int) ([]int, error) {
	var list []int
	seen := make([]bool, max(layers, 0))
	for item := range strings.SplitSeq(s, ",") {
		lo, hi, err := parseRange(item, layers)
		if err != nil {
			return nil, fmt.Errorf("layer list %q: %w", s, err)
		}
		for l := lo; l <= hi; l++ {
			if seen[l] {
				return nil, fmt.Errorf("layer list %q: layer %d is named twice (the last layer is %d)", s, l, layers-1)
			}
			seen[l] = true
			list = append(list, l)
		}
	}
	slices.Sort(list)
	return list, nil
}

func parseRange(item string, layers int) (lo, hi int, err error) {
	first, last, isRange := strings.Cut(item, "-")
	if lo, err = parseLayer(first, item, layers); err != nil {
		return 0, 0, err
	}
	if !isRange {
		return lo, lo, nil
	}
	if hi, err = parseLayer(last, item, layers); err != nil {
		return 0, 0, err
	}
	if hi < lo {
		return 0, 0, fmt.Errorf("range %q runs backwards: write %d-%d (the last layer is %d)", strings.TrimSpace(item), hi, lo, layers-1)
	}
	return lo, hi, nil
}

func parseLayer(s, item string, layers int) (int, error) {
	s, item = strings.TrimSpace(s), strings.TrimSpace(item)
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, fmt.Errorf("%q is not a layer or a range of layers: want numbers from 0 to %d, as in 3,7,24-31", item, layers-1)
	}
	l, err := strconv.Atoi(s)
	if err != nil || l >= layers {
		return 0, fmt.Errorf("layer %s does not exist: the last layer is %d", s, layers-1)
	}
	return l, nil
}

// FormatLayers writes an ascending list the way ParseLayers reads it: runs as
// ranges. An empty list is "".
func FormatLayers(layers []int) string { return layerlist.Format(layers) }

// Complement lists the layers 0…layers-1 that are not in list, ascending.
func Complement(list []int, layers int) []int {
	in := make([]bool, max(layers, 0))
	for _, l := range list {
		if l >= 0 && l < layers {
			in[l] = true
		}
	}
	rest := []int{}
	for l, is := range in {
		if !is {
			rest = append(rest, l)
		}
	}
	return rest
}

// checkLayers says what is wrong with a list of distinct existing layers.
func checkLayers(list []int, layers int) error {
	seen := make([]bool, layers)
	for _, l := range list {
		if l < 0 || l >= layers {
			return fmt.Errorf("layer %d does not exist: the last layer is %d", l, layers-1)
		}
		if seen[l] {
			return fmt.Errorf("layer %d is named twice", l)
		}
		seen[l] = true
	}
	return nil
}
