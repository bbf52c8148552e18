package eval

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Task is one task file, in the harness's schema. Keys of the schema that ask
// for Python or for images are refused by name.
type Task struct {
	Name    string     `yaml:"task"`
	Alias   string     `yaml:"task_alias"`
	Tags    stringList `yaml:"tag"`
	Include stringList `yaml:"include"`

	DatasetPath     string         `yaml:"dataset_path"`
	DatasetName     string         `yaml:"dataset_name"`
	DatasetArgs     map[string]any `yaml:"dataset_kwargs"` // read by Python's datasets only
	TrainingSplit   string         `yaml:"training_split"`
	ValidationSplit string         `yaml:"validation_split"`
	TestSplit       string         `yaml:"test_split"`
	FewshotSplit    string         `yaml:"fewshot_split"`

	ProcessDocs      Field        `yaml:"process_docs"`
	DocToText        Field        `yaml:"doc_to_text"`
	DocToTarget      Field        `yaml:"doc_to_target"`
	DocToChoice      Field        `yaml:"doc_to_choice"`
	ProcessResults   Field        `yaml:"process_results"`
	Description      string       `yaml:"description"`
	TargetDelimiter  *string      `yaml:"target_delimiter"`  // nil: a space
	FewshotDelimiter *string      `yaml:"fewshot_delimiter"` // nil: an empty line
	Fewshot          FewshotRules `yaml:"fewshot_config"`
	NumFewshot       *int         `yaml:"num_fewshot"`

	Output     OutputType    `yaml:"output_type"`
	Generation Generation    `yaml:"generation_kwargs"`
	Repeats    int           `yaml:"repeats"`
	Metrics    []MetricRules `yaml:"metric_list"`
	Filters    []FilterRules `yaml:"filter_list"`

	// Of no consequence here: nothing is looked up in training data.
	Decontaminate      bool   `yaml:"should_decontaminate"`
	DecontaminateQuery string `yaml:"doc_to_decontamination_query"`

	Metadata Metadata `yaml:"metadata"`

	source string // the file, for errors
	config map[string]any
}

// OutputType is what a task asks of the model.
type OutputType string

// Output types.
const (
	MultipleChoice OutputType = "multiple_choice"       // the likeliest of several continuations
	LogLikelihood  OutputType = "loglikelihood"         // the log-likelihood of one continuation
	Rolling        OutputType = "loglikelihood_rolling" // the log-likelihood of a whole text
	GenerateUntil  OutputType = "generate_until"        // a continuation, until a stop string
)

func outputTypes() []OutputType {
	return []OutputType{MultipleChoice, LogLikelihood, Rolling, GenerateUntil}
}

// Metadata says which version of a task this is and, for the tasks that come
// with Coppice, where exactly its data lie. Other keys may stand here.
type Metadata struct {
	Version   scalar                `yaml:"version"`
	Revision  string                `yaml:"revision"`  // commit or ref of the dataset's repository
	Files     map[string]stringList `yaml:"files"`     // split -> files in the repository at that revision
	Documents int                   `yaml:"documents"` // of the split evaluated on, as published
	Original  string                `yaml:"original"`  // the layout of the authors' own files, see originals
	Also      stringList            `yaml:"also"`      // other directories that hold the dataset
	Other     map[string]any        `yaml:",inline"`
}

// FewshotRules say how examples are drawn and written.
type FewshotRules struct {
	Sampler     string           `yaml:"sampler"` // default or first_n
	DocToText   Field            `yaml:"doc_to_text"`
	DocToTarget Field            `yaml:"doc_to_target"`
	DocToChoice Field            `yaml:"doc_to_choice"`
	Samples     []map[string]any `yaml:"samples"` // instead of a split
}

// Generation says how a continuation ends. It is greedy.
type Generation struct {
	Until       stringList `yaml:"until"`
	MaxTokens   int        `yaml:"max_gen_toks"`
	DoSample    bool       `yaml:"do_sample"`
	Temperature float64    `yaml:"temperature"`
}

// MetricRules choose a metric.
type MetricRules struct {
	Metric         string `yaml:"metric"`
	Aggregation    string `yaml:"aggregation"`
	HigherIsBetter *bool  `yaml:"higher_is_better"`
	HFEvaluate     bool   `yaml:"hf_evaluate"`

	// Of exact_match.
	IgnoreCase        bool       `yaml:"ignore_case"`
	IgnorePunctuation bool       `yaml:"ignore_punctuation"`
	IgnoreNumbers     bool       `yaml:"ignore_numbers"`
	RegexesToIgnore   stringList `yaml:"regexes_to_ignore"`
}

// FilterRules name a chain of filters that answers go through before metrics.
type FilterRules struct {
	Name  string       `yaml:"name"`
	Chain []FilterStep `yaml:"filter"`
}

// FilterStep is one filter of a chain.
type FilterStep struct {
	Function string  `yaml:"function"`
	Pattern  string  `yaml:"regex_pattern"`
	Group    int     `yaml:"group_select"`
	Fallback *string `yaml:"fallback"`
}

// Field is what a document gives for a part of a request: the name of a
// column, a Jinja template, a number, a list, or a built-in function.
type Field struct {
	Text     string   // column or template
	Number   *int     // the same for all documents
	List     []string // likewise
	Function string   // after !function
	set      bool
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (f *Field) UnmarshalYAML(n *yaml.Node) error {
	f.set = n.Tag != "!!null"
	switch {
	case n.Tag == "!function":
		f.Function = n.Value
		return nil
	case n.Tag == "!!int":
		return n.Decode(&f.Number)
	case n.Kind == yaml.SequenceNode:
		return n.Decode(&f.List)
	case n.Kind == yaml.MappingNode: // the values, in order
		for i := 1; i < len(n.Content); i += 2 {
			f.List = append(f.List, n.Content[i].Value)
		}
		return nil
	}
	f.Text = n.Value
	return nil
}

// stringList is a list that may be written as a single string.
type stringList []string

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *stringList) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		*s = stringList{n.Value}
		return nil
	}
	return n.Decode((*[]string)(s))
}

// scalar is a number or a string, as it is written.
type scalar string

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *scalar) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: want a number or a string", n.Line)
	}
	*s = scalar(n.Value)
	return nil
}

// TaskError says what is wrong with a task file.
type TaskError struct {
	File string
	Task string // may be empty
	What string
}

func (e *TaskError) Error() string {
	if e.Task == "" {
		return e.File + ": " + e.What
	}
	return fmt.Sprintf("%s: task %s: %s", e.File, e.Task, e.What)
}

func (t *Task) fail(format string, args ...any) error {
	return &TaskError{File: t.source, Task: t.Name, What: fmt.Sprintf(format, args...)}
}

// Split is the split whose documents are asked.
func (t *Task) Split() string {
	if t.TestSplit != "" {
		return t.TestSplit
	}
	return t.ValidationSplit
}

// FewshotFrom is the split examples are drawn from.
func (t *Task) FewshotFrom() string {
	for _, s := range []string{t.FewshotSplit, t.TrainingSplit, t.ValidationSplit} {
		if s != "" {
			return s
		}
	}
	return t.TestSplit
}

// Shots is how many examples stand before a question when count of them are
// asked for; below 0: as many as the task says. A task that sets 0 keeps it.
func (t *Task) Shots(count int) int {
	if t.NumFewshot != nil && (*t.NumFewshot == 0 || count < 0) {
		return *t.NumFewshot
	}
	return max(count, 0)
}

// DisplayName is the alias, where the task has one.
func (t *Task) DisplayName() string {
	if t.Alias != "" {
		return t.Alias
	}
	return t.Name
}

// Config is the task file with what it includes, for results.
func (t *Task) Config() map[string]any { return t.config }

func (t *Task) targetDelimiter() string {
	if t.TargetDelimiter == nil {
		return " "
	}
	return *t.TargetDelimiter
}

func (t *Task) fewshotDelimiter() string {
	if t.FewshotDelimiter == nil {
		return "\n\n"
	}
	return *t.FewshotDelimiter
}

// check finds what a task file cannot mean, and fills in defaults.
func (t *Task) check() error {
	if !slices.Contains(outputTypes(), t.Output) {
		return t.fail("output_type %q: want one of %s", t.Output, join(outputTypes()))
	}
	if t.Split() == "" {
		return t.fail("names neither a test_split nor a validation_split")
	}
	if t.DatasetPath == "" {
		return t.fail("names no dataset_path")
	}
	if t.Repeats > 1 {
		return t.fail("repeats: %d: every request is asked once, which greedy answers need no more than", t.Repeats)
	}
	for _, err := range []error{t.checkFields(), t.checkGeneration(), t.checkMetrics(), t.checkFilters()} {
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *Task) checkFields() error {
	if t.Output == MultipleChoice && !t.DocToChoice.set {
		return t.fail("multiple_choice needs doc_to_choice")
	}
	if !t.DocToTarget.set {
		return t.fail("names no doc_to_target")
	}
	for key, f := range map[string]Field{
		"process_docs": t.ProcessDocs, "doc_to_text": t.DocToText, "doc_to_target": t.DocToTarget, "doc_to_choice": t.DocToChoice, "process_results": t.ProcessResults,
		"fewshot_config.doc_to_text": t.Fewshot.DocToText, "fewshot_config.doc_to_target": t.Fewshot.DocToTarget, "fewshot_config.doc_to_choice": t.Fewshot.DocToChoice,
	} {
		if f.Function != "" && !slices.Contains(functionNames(), f.Function) {
			return t.fail("%s: !function %s is Python, which does not run here; known ones: %s. Write it as a Jinja template", key, f.Function, strings.Join(functionNames(), ", "))
		}
		if _, err := compile(f.Text); err != nil {
			return t.fail("%s: %v", key, err)
		}
	}
	for key, f := range map[string]Field{"process_docs": t.ProcessDocs, "process_results": t.ProcessResults} {
		if f.set && f.Function == "" {
			return t.fail("%s: want a !function", key)
		}
	}
	if s := t.Fewshot.Sampler; s != "" && s != "default" && s != "first_n" {
		return t.fail("fewshot_config.sampler %q: want default or first_n", s)
	}
	return nil
}

// defaultMaxTokens is how long a generated answer may become.
const defaultMaxTokens = 256

func (t *Task) checkGeneration() error {
	if t.Output != GenerateUntil {
		return nil
	}
	g := &t.Generation
	if g.DoSample || g.Temperature != 0 {
		return t.fail("generation_kwargs: answers are greedy here; set do_sample: false and temperature: 0")
	}
	if g.Until == nil {
		g.Until = stringList{t.fewshotDelimiter()}
	}
	if g.MaxTokens == 0 {
		g.MaxTokens = defaultMaxTokens
	}
	if g.MaxTokens < 0 {
		return t.fail("generation_kwargs.max_gen_toks %d: want a positive number", g.MaxTokens)
	}
	return nil
}

func join[T ~string](names []T) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return strings.Join(out, ", ")
}
