package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/coppice-ml/coppice/internal/plot"
	"github.com/coppice-ml/coppice/stage"
)

// lossPanels draws the events of a healing, those of earlier calls too.
func lossPanels(dir string) ([]plot.Panel, error) {
	f, err := os.Open(stage.HealEvents(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := plot.Losses{Title: "losses of healing " + filepath.Base(dir)}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e struct {
			Type string  `json:"type"`
			Step float64 `json:"step"`
			Loss float64 `json:"loss"`
		}
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		switch e.Type {
		case "step":
			p.Steps, p.Training = append(p.Steps, e.Step), append(p.Training, e.Loss)
		case "eval":
			p.Evaluated, p.Validation = append(p.Evaluated, e.Step), append(p.Validation, e.Loss)
		}
	}
	return []plot.Panel{p}, nil
}
