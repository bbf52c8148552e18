package prune

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/model"
)

// Select takes the first count layers of order that are not protected and
// returns them in ascending order. order lists layers from the first to drop to
// the last; it may or may not hold the protected ones. It fails when count is
// negative or there are fewer unprotected layers than that.
func Select(order []int, protect []int, count int) (drop []int, err error) {
	if count < 0 {
		return nil, fmt.Errorf("cannot drop %d layers: want a number from 0 on", count)
	}
	free := make([]int, 0, len(order))
	for _, l := range order {
		if !slices.Contains(protect, l) {
			free = append(free, l)
		}
	}
	if count > len(free) {
		return nil, fmt.Errorf("cannot drop %d layers: only %d may go (%d protected); ask for fewer or protect fewer", count, len(free), len(protect))
	}
	return slices.Sorted(slices.Values(free[:count])), nil
}

// ratioSlack forgives the rounding of ratio x layers in floating point, so that
// .29 of 100 layers is 29.
const ratioSlack = 1e-9

// CountForRatio is how many of the layers a ratio drops, rounded down: a quarter
// of 26 is 6. It fails for ratios outside (0, 1) and for those that drop none,
// naming the smallest one that does.
func CountForRatio(layers int, ratio float64) (int, error) {
	if !(ratio > 0 && ratio < 1) {
		return 0, fmt.Errorf("ratio %v: want a number between 0 and 1, such as .25", ratio)
	}
	if count := int(math.Floor(ratio*float64(layers) + ratioSlack)); count > 0 {
		return count, nil
	}
	if layers < 2 {
		return 0, fmt.Errorf("ratio %v: a model of 1 layer has none to spare", ratio)
	}
	smallest := math.Ceil(1e4/float64(layers)) / 1e4
	return 0, fmt.Errorf("ratio %v of %d layers rounds down to none; the smallest ratio that drops one is %v", ratio, layers, smallest)
}

// CountForParameters is the smallest number of layers to drop so that at most
// target parameters are left. It fails when the model is small enough already
// and when even one layer is too many.
func CountForParameters(spec *model.Spec, target int64) (int, error) {
	all, layer := spec.Parameters(), spec.LayerParameters()
	if all <= target {
		return 0, fmt.Errorf("the model has %s parameters, which is not above the target of %s; nothing would be dropped", FormatParameters(all), FormatParameters(target))
	}
	count := (all - target + layer - 1) / layer
	if count >= int64(spec.Layers) {
		least := all - int64(spec.Layers-1)*layer
		return 0, fmt.Errorf("%s parameters cannot be reached: one layer and everything outside the layers have %s", FormatParameters(target), FormatParameters(least))
	}
	return int(count), nil
}

// parameterUnits are the suffixes of parameter counts, largest first.
func parameterUnits() []struct {
	suffix string
	factor float64
} {
	return []struct {
		suffix string
		factor float64
	}{{"T", 1e12}, {"B", 1e9}, {"M", 1e6}, {"K", 1e3}}
}

// ParseParameters reads a number of parameters such as "6.3B", "135M" or
// "1235814400". Suffixes are K, M, B and T, in either case, powers of ten.
func ParseParameters(s string) (int64, error) {
	number, factor := strings.ToUpper(strings.TrimSpace(s)), 1.0
	for _, u := range parameterUnits() {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.Trim(number, "0123456789.") != "" {
		return 0, fmt.Errorf("%q is not a number of parameters: want one such as 6.3B, 135M or 1235814400", s)
	}
	v = math.Round(v * factor)
	if v < 1 || v > 1<<62 {
		return 0, fmt.Errorf("%q is not a number of parameters: want at least 1 and at most 4e18", s)
	}
	return int64(v), nil
}

// FormatParameters writes a count for people, with three or four digits: 6.74B.
func FormatParameters(n int64) string {
	for _, u := range parameterUnits() {
		if v := float64(n) / u.factor; v >= 1 {
			return strconv.FormatFloat(v, 'f', max(0, 2-int(math.Log10(v))), 64) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

// Schedule drops layers in rounds, the ones left being scored anew between
// them: Step layers a round until Total are gone. The paper calls it b:c.
type Schedule struct{ Step, Total int }

// ParseSchedule reads "step:total", such as "2:8".
func ParseSchedule(s string) (Schedule, error) {
	step, total, ok := strings.Cut(s, ":")
	a, errA := strconv.Atoi(strings.TrimSpace(step))
	b, errB := strconv.Atoi(strings.TrimSpace(total))
	if !ok || errA != nil || errB != nil {
		return Schedule{}, fmt.Errorf("schedule %q: want STEP:TOTAL, such as 2:8", s)
	}
	if a < 1 || b < a {
		return Schedule{}, fmt.Errorf("schedule %q: want a step of at least 1 and a total not below it", s)
	}
	return Schedule{Step: a, Total: b}, nil
}

// Rounds is how many layers go in each round. The last round drops what is left
// to drop, which may be less than Step.
func (s Schedule) Rounds() []int {
	var rounds []int
	for left := s.Total; left > 0; left -= s.Step {
		rounds = append(rounds, min(s.Step, left))
	}
	return rounds
}
