package generate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/coppice-ml/coppice/internal/mmap"
	"github.com/coppice-ml/coppice/internal/pyjson"
)

// maxConfig bounds generation_config.json, which holds some hundred bytes.
const maxConfig = 16 << 20

// StopTokens are the ends of text of the model in a directory, ascending: those that
// are known from elsewhere (config.json, the tokenizer) and eos_token_id of its
// generation_config.json, if there is one.
func StopTokens(dir string, known []int) ([]int, error) {
	more, err := generationEOS(filepath.Join(dir, "generation_config.json"))
	if err != nil {
		return nil, err
	}
	stop := slices.Concat(known, more)
	slices.Sort(stop)
	return slices.Compact(stop), nil
}

func generationEOS(path string) ([]int, error) {
	raw, err := mmap.ReadRegular(path, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: put the model's own file there, or remove it", err)
	}
	var config struct {
		EOS json.RawMessage `json:"eos_token_id"`
	}
	if err := pyjson.Explain(pyjson.Unmarshal(raw, &config)); err != nil {
		return nil, fmt.Errorf("%s: not a JSON object: %w; copy the file again, or remove it", path, err)
	}
	var one int
	var many []int
	switch {
	case len(config.EOS) == 0 || string(config.EOS) == "null":
		return nil, nil
	case json.Unmarshal(config.EOS, &one) == nil:
		return []int{one}, nil
	case json.Unmarshal(config.EOS, &many) == nil:
		return many, nil
	}
	return nil, fmt.Errorf("%s: eos_token_id = %s: want a token id or a list of them", path, config.EOS)
}
