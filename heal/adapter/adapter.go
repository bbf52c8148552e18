// Package adapter reads and writes low-rank adapters in the files of PEFT,
// adapter_config.json and adapter_model.safetensors, and checks that they belong
// to a model. Merging them into weights is done here, value by value; running
// them is an engine's work, training them package heal's.
package adapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/internal/mmap"
	"github.com/coppice-ml/coppice/internal/pyjson"
	"github.com/coppice-ml/coppice/model"
)

// The files of an adapter.
const (
	ConfigFile  = "adapter_config.json"
	WeightsFile = "adapter_model.safetensors"
)

// Config is adapter_config.json, as far as it changes what is computed.
type Config struct {
	PeftType       string             `json:"peft_type"`
	TaskType       string             `json:"task_type"`
	Base           string             `json:"base_model_name_or_path"`
	Rank           int                `json:"r"`
	Alpha          float64            `json:"lora_alpha"`
	Dropout        float64            `json:"lora_dropout"`
	RankStable     bool               `json:"use_rslora"`
	Targets        targets            `json:"target_modules"`
	Layers         layerList          `json:"layers_to_transform"`
	RankPattern    map[string]int     `json:"rank_pattern"`
	AlphaPattern   map[string]float64 `json:"alpha_pattern"`
	Bias           string             `json:"bias"`
	FanInFanOut    bool               `json:"fan_in_fan_out"`
	ModulesToSave  []string           `json:"modules_to_save"`
	UseDora        bool               `json:"use_dora"`
	InferenceMode  bool               `json:"inference_mode"`
	InitWeights    any                `json:"init_lora_weights"`
	LayersPattern  any                `json:"layers_pattern"`
	Revision       any                `json:"revision"`
	AutoMapping    any                `json:"auto_mapping"`
	ExcludeModules any                `json:"exclude_modules,omitempty"`
}

// targets is target_modules: a list of names, or one regular expression.
type targets struct {
	Names      []string
	Expression string
}

func (t *targets) UnmarshalJSON(raw []byte) error {
	if err := json.Unmarshal(raw, &t.Names); err == nil {
		return nil
	}
	return json.Unmarshal(raw, &t.Expression)
}

func (t targets) MarshalJSON() ([]byte, error) {
	if t.Expression != "" {
		return json.Marshal(t.Expression)
	}
	return json.Marshal(t.Names)
}

// layerList is layers_to_transform: absent, one layer, or a list of them.
type layerList []int

func (l *layerList) UnmarshalJSON(raw []byte) error {
	var one int
	if err := json.Unmarshal(raw, &one); err == nil {
		if string(raw) != "null" {
			*l = layerList{one}
		}
		return nil
	}
	return json.Unmarshal(raw, (*[]int)(l))
}

// NewConfig describes adapters as this program makes them: of the linear maps
// adapted, for the kept layers of a model, which the files count from 0.
func NewConfig(base string, rank int, alpha, dropout float64, rankStable bool, spec *model.Spec, kept []int, adapted []model.Weight) Config {
	c := Config{
		PeftType: "LORA", TaskType: "CAUSAL_LM", Base: base, Bias: "none", InferenceMode: true, InitWeights: true,
		Rank: rank, Alpha: alpha, Dropout: dropout, RankStable: rankStable,
		RankPattern: map[string]int{}, AlphaPattern: map[string]float64{},
	}
	c.choose(spec, kept, adapted)
	return c
}

// choose says in PEFT's words what is adapted: modules by their last names, in all
// layers or in some, or where that would name more than there is, by an expression.
func (c *Config) choose(spec *model.Spec, kept []int, adapted []model.Weight) {
	rename := spec.Renamer(kept)
	var depths layerList
	var paths []string
	for _, w := range adapted {
		if name := module(w.Name); !slices.Contains(c.Targets.Names, name) {
			c.Targets.Names = append(c.Targets.Names, name)
		}
		if depth := slices.Index(kept, w.Layer); !slices.Contains(depths, depth) {
			depths = append(depths, depth)
		}
		name, _ := rename(w.Name)
		paths = append(paths, regexp.QuoteMeta(strings.TrimSuffix(name, ".weight")))
	}
	slices.Sort(c.Targets.Names)
	slices.Sort(depths)
	if len(depths) < len(kept) {
		c.Layers = depths
	}
	named := 0
	for _, depth := range depths {
		for _, w := range spec.LayerWeights(kept[depth]) {
			if len(w.Shape) == 2 && slices.Contains(c.Targets.Names, module(w.Name)) {
				named++
			}
		}
	}
	if beside := func(w model.Weight) bool { return strings.Contains(w.Name, "language_model.") }; slices.ContainsFunc(adapted, beside) {
		c.ExcludeModules = ".*vision_tower.*" // whose maps have the same names
	}
	if named > len(adapted) {
		c.Targets, c.Layers = targets{Expression: strings.Join(paths, "|")}, nil
	}
}

// module is the last name of a linear map's path, as target_modules has it.
func module(tensor string) string {
	path := strings.TrimSuffix(tensor, ".weight")
	return path[strings.LastIndexByte(path, '.')+1:]
}

// Error says what is wrong with an adapter.
type Error struct {
	Path   string // the file
	Tensor string // empty where no single one is at fault
	What   string
	Remedy string
}

func (e *Error) Error() string {
	msg := e.Path + ": "
	if e.Tensor != "" {
		msg += "tensor " + e.Tensor + ": "
	}
	msg += e.What
	if e.Remedy != "" {
		msg += "; " + e.Remedy
	}
	return msg
}

// ErrNone: a directory holds no adapter.
var ErrNone = errors.New("no adapter")

// mostConfig is the largest adapter_config.json that is read.
const mostConfig = 16 << 20

// ReadConfig reads and checks adapter_config.json of a directory.
func ReadConfig(dir string) (*Config, error) {
	path := filepath.Join(dir, ConfigFile)
	raw, err := mmap.ReadRegular(path, mostConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: it has no %s", dir, ErrNone, ConfigFile)
	}
	if err != nil {
		return nil, err
	}
	var c Config
	if err := pyjson.Explain(pyjson.Unmarshal(raw, &c)); err != nil {
		return nil, &Error{Path: path, What: "not an adapter's config: " + err.Error(), Remedy: "get the file again"}
	}
	if what := c.unsupported(); what != "" {
		return nil, &Error{Path: path, What: what, Remedy: "merge the adapter with peft's merge_and_unload and use the result"}
	}
	return &c, nil
}

// unsupported names what of a config changes results and is not known here.
func (c *Config) unsupported() string {
	switch {
	case c.PeftType != "LORA":
		return fmt.Sprintf("peft_type is %q; only LORA can be used", c.PeftType)
	case c.Rank < 1:
		return fmt.Sprintf("r is %d; want at least 1", c.Rank)
	case math.IsNaN(c.Alpha) || math.IsInf(c.Alpha, 0):
		return "lora_alpha is not finite"
	case c.UseDora:
		return "use_dora (weight-decomposed adapters) cannot be used"
	case c.Bias != "" && c.Bias != "none":
		return fmt.Sprintf("bias is %q: trained biases cannot be used", c.Bias)
	case c.FanInFanOut:
		return "fan_in_fan_out (transposed weights) cannot be used"
	case len(c.ModulesToSave) > 0:
		return fmt.Sprintf("modules_to_save has %s: whole modules beside adapters cannot be used", strings.Join(c.ModulesToSave, ", "))
	}
	return ""
}

// scale is what the product of a module's matrices is multiplied by; rank is the
// matrices' own.
func (c *Config) scale(path string, rank int) float64 {
	alpha := c.Alpha
	if a, ok := pattern(c.AlphaPattern, path); ok {
		alpha = a
	}
	if c.RankStable {
		return alpha / math.Sqrt(float64(rank))
	}
	return alpha / float64(rank)
}

// rank is the rank of a module's matrices.
func (c *Config) rank(path string) int {
	if r, ok := pattern(c.RankPattern, path); ok {
		return r
	}
	return c.Rank
}

// pattern finds a module in rank_pattern or alpha_pattern, whose keys are the end
// of a module's path.
func pattern[T any](patterns map[string]T, path string) (T, bool) {
	for key, value := range patterns {
		if path == key || strings.HasSuffix(path, "."+key) {
			return value, true
		}
	}
	var none T
	return none, false
}
