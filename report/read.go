package report

import (
	"errors"
	"fmt"
	"strings"

	"github.com/coppice-ml/coppice/internal/mmap"
)

// ReadRankings reads the rankings of a file of JSON lines, as `coppice score
// --json` prints them; lines of other types are passed over. There must be one
// at least, and each must order layers that it scores.
func ReadRankings(path string) ([]Ranking, error) {
	raw, err := mmap.ReadNamed(path)
	if err != nil {
		return nil, err
	}
	var out []Ranking
	n := 0
	for line := range strings.Lines(string(raw)) {
		n++
		if strings.TrimSpace(line) == "" {
			continue
		}
		l, err := Read([]byte(line))
		if unknown := (*UnknownError)(nil); errors.As(err, &unknown) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w; want the lines that `coppice score --json` prints", path, n, err)
		}
		r, ok := l.(Ranking)
		if !ok {
			continue
		}
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, n, err)
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: holds no ranking; want the lines that `coppice score --json` prints", path)
	}
	return out, nil
}

// check says what contradicts itself in a ranking.
func (l Ranking) check() error {
	if len(l.Scores) == 0 || len(l.Order) == 0 {
		return fmt.Errorf("the ranking by %q lacks scores or order", l.Metric)
	}
	seen := make([]bool, len(l.Scores))
	for _, list := range [][]int{l.Order, l.Protected} {
		for _, layer := range list {
			if layer < 0 || layer >= len(seen) || seen[layer] {
				return fmt.Errorf("the ranking by %q names layer %d, which does not exist or stands twice (it has %d scores)", l.Metric, layer, len(seen))
			}
			seen[layer] = true
		}
	}
	return nil
}
