package report

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// ReadRankings reads the rankings of a file of JSON lines, as `coppice score
// --json` prints them; lines of other types are passed over. There must be one
// at least, and each must order layers that it scores.
func ReadRankings(path string) ([]Ranking, error) {
	raw, err := os.ReadFile(path)
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
		var kind struct {
			Type string `json:"type"`
		}
		var r Ranking
		if err := json.Unmarshal([]byte(line), &kind); err != nil {
			return nil, fmt.Errorf("%s: line %d: not a JSON object: %w; want the lines that `coppice score --json` prints", path, n, err)
		}
		if kind.Type != "ranking" {
			continue
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, n, err)
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
func (r Ranking) check() error {
	if len(r.Scores) == 0 || len(r.Order) == 0 {
		return fmt.Errorf("the ranking by %q lacks scores or order", r.Metric)
	}
	seen := make([]bool, len(r.Scores))
	for _, list := range [][]int{r.Order, r.Protected} {
		for _, l := range list {
			if l < 0 || l >= len(seen) || seen[l] {
				return fmt.Errorf("the ranking by %q names layer %d, which does not exist or stands twice (it has %d scores)", r.Metric, l, len(seen))
			}
			seen[l] = true
		}
	}
	return nil
}
