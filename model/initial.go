package model

import "encoding/json"

// InitializerRange is the standard deviation that a config's weights begin with:
// its initializer_range, or transformers' default of 0.02.
func InitializerRange(raw []byte) float64 {
	var c struct {
		Range *float64 `json:"initializer_range"`
	}
	if json.Unmarshal(raw, &c) != nil || c.Range == nil || !(*c.Range > 0) {
		return 0.02
	}
	return *c.Range
}
