package run

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// Format is the version of recipes.
const Format = 1

// Recipe is what a recipe file says.
type Recipe struct {
	Format   int     `yaml:"coppice" doc:"version of the format: 1"`
	Name     string  `yaml:"name" doc:"what runs of the recipe are called"`
	About    string  `yaml:"about" doc:"one line"`
	Extends  string  `yaml:"extends" doc:"a shipped recipe or a file, over which this one is merged"`
	Models   []Model `yaml:"models" doc:"directories, or names on the hub: org/name[@revision]"`
	Settings `yaml:",inline"`
	Matrix   Matrix        `yaml:"matrix" doc:"axes: a trial is made of every combination of their values"`
	Exclude  []Combination `yaml:"exclude" doc:"combinations that are left out"`
	Include  []Combination `yaml:"include" doc:"combinations to add, or settings to add to those that there are"`
	Zip      [][]string    `yaml:"zip" doc:"axes that go along with each other"`
	Limits   Limits        `yaml:"limits" doc:"refuse to start what would take more"`
	Report   rundir.Report `yaml:"report" doc:"how results are shown"`
}

// Settings are what trials may differ in.
type Settings struct {
	Score   *Score   `yaml:"score" doc:"what layers are ranked on"`
	Prune   *Prune   `yaml:"prune" doc:"which layers go"`
	Heal    *Heal    `yaml:"heal" doc:"how what is left is trained"`
	Curve   *Curve   `yaml:"curve" doc:"what is lost as more and more layers go"`
	Measure *Measure `yaml:"measure" doc:"what is measured, dense, cut and healed"`
	Keep    Keep     `yaml:"keep" doc:"what stays of a trial"`
	Seeds   []uint64 `yaml:"seeds" doc:"a trial for each, where it changes anything"`
	Engine  Engine   `yaml:"engine" doc:"what models run on"`
}

// stageKeys are the keys that none removes.
func stageKeys() []string { return []string{"score", "prune", "heal", "curve", "measure"} }

// None as the value of a stage removes it.
const None = "none"

// Model is a model to make trials of: a directory, a name on the hub, or one of
// either with a name of its own.
type Model struct {
	Name string `yaml:"name" doc:"in the names of trials"`
	From string `yaml:"from" doc:"directory, or name on the hub"`
}

// UnmarshalYAML takes a plain name, too.
func (m *Model) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		m.From, m.Name = n.Value, shortName(n.Value)
		return nil
	}
	type plain Model
	if err := n.Decode((*plain)(m)); err != nil {
		return err
	}
	if m.From == "" {
		return fmt.Errorf("line %d: a model without from", n.Line)
	}
	if m.Name == "" {
		m.Name = shortName(m.From)
	}
	return nil
}

// Texts are what sequences are cut from.
type Texts struct {
	From    string `yaml:"from" doc:"file, directory, or data set of the hub with :config/split"`
	Field   string `yaml:"field" doc:"column that holds the text"`
	Windows string `yaml:"windows" doc:"drawn from documents, or joined: all rows joined and cut up" enum:"drawn,joined"`
	Samples Count  `yaml:"samples" doc:"windows, or all (joined)"`
	Length  int    `yaml:"length" doc:"tokens in a window"`
	AddBOS  string `yaml:"add_bos" doc:"begin every window with BOS" enum:"true,false,auto"`
}

// Score says what layers are ranked on.
type Score struct {
	Data      Texts              `yaml:"data" doc:"the texts"`
	Batch     int                `yaml:"batch" doc:"sequences of a gradient batch (taylor)"`
	PerMetric map[string]ScoreOf `yaml:"per_metric" doc:"what is different for a metric"`
}

// ScoreOf is Score for one metric; what is not given is as for the others.
type ScoreOf struct {
	Data  Texts `yaml:"data" doc:"the texts"`
	Batch int   `yaml:"batch" doc:"sequences of a gradient batch (taylor)"`
}

// Prune says which layers go.
type Prune struct {
	By        string  `yaml:"by" doc:"metric that orders the layers"`
	Ratio     float64 `yaml:"ratio" doc:"share of the layers, rounded down"`
	Count     int     `yaml:"count" doc:"layers"`
	Params    string  `yaml:"params" doc:"drop until at most so many parameters are left, such as 6.3B"`
	Iterative string  `yaml:"iterative" doc:"STEP:TOTAL: drop STEP at a time, rank anew, TOTAL in all"`
	Drop      string  `yaml:"drop" doc:"these layers, such as 3,7,24-31"`
	Keep      string  `yaml:"keep" doc:"all but these layers"`
	Plan      string  `yaml:"plan" doc:"as a plan file has it"`
	Protect   string  `yaml:"protect" doc:"layers that are never dropped"`
}

// Heal says how what is left is trained.
type Heal struct {
	Data           Rows    `yaml:"data" doc:"the rows"`
	Between        Between `yaml:"between" doc:"of iterative pruning: what happens between its rounds: full (as at the end), none, or so many steps"`
	stage.Training `yaml:",inline"`
}

// UnmarshalYAML begins with the defaults of training.
func (h *Heal) UnmarshalYAML(n *yaml.Node) error {
	h.Training = stage.DefaultTraining()
	type plain Heal
	return n.Decode((*plain)(h))
}

// Rows are what is trained on.
type Rows struct {
	From           Strings  `yaml:"from" doc:"files, directories, data sets of the hub; :WEIGHT after one gives its share"`
	TrainTokens    string   `yaml:"train_tokens" doc:"rows of ids and labels, in place of texts"`
	Schema         string   `yaml:"schema" doc:"of the rows; else recognised by their columns"`
	Map            []string `yaml:"map" doc:"names of columns where they are not the schema's: output=answer"`
	Template       string   `yaml:"template" doc:"alpaca, chat (the model's own), a .jinja file, or a built-in one"`
	TrainOn        string   `yaml:"train_on" doc:"which tokens are learnt" enum:"assistant,last,all"`
	MaxLength      int      `yaml:"max_length" doc:"tokens of a row, cut on the right"`
	Samples        Count    `yaml:"samples" doc:"rows drawn by seed, or all"`
	Validation     *int     `yaml:"validation" doc:"rows held out"`
	ValidationData string   `yaml:"validation_data" doc:"held-out rows of their own"`
	Answers        *Answers `yaml:"answers" doc:"the whole model's answers to the rows in place of their own (self-data distillation)"`
}

// Answers is how the whole model answers rows before it is cut.
type Answers struct {
	MaxTokens   int     `yaml:"max_tokens" doc:"of an answer; unless given max_length, so that none is learnt to end where it ran out"`
	Temperature float64 `yaml:"temperature" doc:"0: the likeliest token"`
}

// Curve measures the loss, or tasks, as more and more layers go in the order that
// prune's metric gives.
type Curve struct {
	Tasks Strings `yaml:"tasks" doc:"in place of the loss on score's data"`
	Limit int     `yaml:"limit" doc:"first so many documents of each task"`
}

// Measure says what is measured, and where on the way.
type Measure struct {
	At         []string     `yaml:"at" doc:"of dense, cut, healed"`
	Tasks      Strings      `yaml:"tasks" doc:"benchmark tasks and groups"`
	Limit      int          `yaml:"limit" doc:"first so many documents of each task; 0: all"`
	Shots      *int         `yaml:"num_fewshot" doc:"examples before each question"`
	TaskDir    string       `yaml:"task_dir" doc:"directory of one's own task files"`
	DataDir    string       `yaml:"data_dir" doc:"directory of the tasks' data sets, in place of the hub"`
	Perplexity []Perplexity `yaml:"perplexity" doc:"texts"`
	Prompts    Prompts      `yaml:"prompts" doc:"texts to go on from: default, none, or a list"`
	MaxTokens  int          `yaml:"max_tokens" doc:"made after each prompt"`
	Speed      *Speed       `yaml:"speed" doc:"tokens a second"`
	Sizes      *Sizes       `yaml:"sizes" doc:"parameters, bytes and multiply-accumulates, by the config"`
	Similarity *Similarity  `yaml:"similarity" doc:"linear CKA of the hidden states at every two depths"`
}

// Perplexity is one text's.
type Perplexity struct {
	Data    string `yaml:"data" doc:"file, directory, or data set of the hub"`
	Field   string `yaml:"field" doc:"column that holds the text"`
	Windows string `yaml:"windows" doc:"joined: all rows joined and cut up" enum:"joined"`
	Length  int    `yaml:"length" doc:"tokens in a window"`
	AddBOS  string `yaml:"add_bos" doc:"BOS at the start of the text" enum:"true,false,auto"`
}

// Speed is how much is read and written to measure it.
type Speed struct {
	Prefill int `yaml:"prefill" doc:"tokens of the prompt"`
	Decode  int `yaml:"decode" doc:"tokens made after it"`
}

// Sizes is what multiply-accumulates are counted of.
type Sizes struct {
	Tokens int `yaml:"tokens" doc:"of the sequence; the paper has 64"`
}

// Similarity is what hidden states are compared on.
type Similarity struct {
	Data Texts  `yaml:"data" doc:"the texts"`
	Rows string `yaml:"rows" doc:"what is compared: states of tokens, or of whole sequences, side by side" enum:"token,sequence"`
}

// Keep says what stays of a trial.
type Keep struct {
	Cut    string `yaml:"cut" doc:"of the pruned model" enum:"plan,checkpoint"`
	Healed string `yaml:"healed" doc:"of the healed model" enum:"trained,checkpoint"`
}

// Values of Keep.
const (
	KeepPlan       = "plan"
	KeepTrained    = "trained"
	KeepCheckpoint = "checkpoint"
)

// Engine says what models run on.
type Engine struct {
	Device  string `yaml:"device" doc:"auto, cpu, cuda; cuda:1 is the second GPU"`
	DType   string `yaml:"dtype" doc:"of the inputs of matrix products" enum:"auto,bfloat16,float32"`
	Threads int    `yaml:"threads" doc:"0: one a core"`
	Memory  string `yaml:"memory" doc:"most the process may hold, such as 20GiB"`
}

// Limits are what a run may take.
type Limits struct {
	Hours float64 `yaml:"hours" doc:"by the estimate"`
	Disk  string  `yaml:"disk" doc:"of the run directory, such as 200GiB"`
	// What a budget sets, for all trials.
	Documents int `yaml:"documents" doc:"most of every task, in every trial"`
	Rows      int `yaml:"rows" doc:"most to train on, in every trial"`
}

// Count is a number, or all, which is 0 of those that were given.
type Count struct {
	N     int
	Given bool
}

// UnmarshalYAML takes a number or all.
func (c *Count) UnmarshalYAML(n *yaml.Node) error {
	c.Given = true
	if n.Value == "all" {
		return nil
	}
	return n.Decode(&c.N)
}

// MarshalYAML writes what UnmarshalYAML reads.
func (c Count) MarshalYAML() (any, error) {
	if c.N == 0 {
		return "all", nil
	}
	return c.N, nil
}

// IsZero says that nothing was given.
func (c Count) IsZero() bool { return !c.Given }

// Strings is a list, of which one may stand by itself.
type Strings []string

// UnmarshalYAML takes a text or a list of them.
func (s *Strings) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*s = Strings{n.Value}
		return nil
	}
	return n.Decode((*[]string)(s))
}

// Prompts are texts to go on from.
type Prompts []string

// UnmarshalYAML takes default, none or a list.
func (p *Prompts) UnmarshalYAML(n *yaml.Node) error {
	switch {
	case n.Kind != yaml.ScalarNode:
		return n.Decode((*[]string)(p))
	case n.Value == "default":
		*p = defaultPrompts()
	case n.Value == None:
		*p = Prompts{}
	default:
		return fmt.Errorf("line %d: %q: want default, none, or a list of texts", n.Line, n.Value)
	}
	return nil
}

// defaultPrompts are of different kinds: facts, a story, an instruction, reasoning,
// code.
func defaultPrompts() Prompts {
	return Prompts{
		"The capital of France is", "Once upon a time", "The three most important things about healthy food are",
		"If a train travels 60 miles in one hour, then in three hours it travels", "def fibonacci(n):", "Water boils at",
	}
}

// Between is what happens between the rounds of iterative pruning.
type Between struct {
	Full  bool
	Steps int
}

// UnmarshalYAML takes full, none or {steps: N}.
func (b *Between) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && slices.Contains([]string{"full", None}, n.Value) {
		b.Full = n.Value == "full"
		return nil
	}
	var steps struct {
		Steps int `yaml:"steps"`
	}
	if err := n.Decode(&steps); err != nil || steps.Steps < 1 {
		return fmt.Errorf("line %d: between: want full, none, or {steps: N}", n.Line)
	}
	b.Steps = steps.Steps
	return nil
}

// Heals says whether anything is trained between rounds.
func (b Between) Heals() bool { return b.Full || b.Steps > 0 }
