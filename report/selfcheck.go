package report

// Selfcheck is how far a model's logits are from a reference's.
type Selfcheck struct {
	Type      string            `json:"type"`
	MaxError  Number            `json:"max_error"` // largest absolute difference; null when a logit is not a number
	MeanError Number            `json:"mean_error"`
	Tolerance float64           `json:"tolerance"` // of max_error
	Greedy    Number            `json:"greedy"`    // share of positions whose likeliest token is the same
	OK        bool              `json:"ok"`
	Sequences int               `json:"sequences"`
	Positions int               `json:"positions"` // whose logits were compared
	Reference string            `json:"reference"` // what the reference calls its model
	RefDType  string            `json:"reference_dtype"`
	Versions  map[string]string `json:"reference_versions"`
	Compute
}

// Typed implements Line.
func (l Selfcheck) Typed() any { l.Type = "selfcheck"; return l }
